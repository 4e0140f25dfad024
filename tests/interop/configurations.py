"""
What each server is told: a reverse proxy before one upstream, plain and TLS, in as few lines as do.

Here: one template for each, near to what its package's own examples say. Not here: processes
(`servers`). Folders and ports come from outside, so that nothing is shared between two tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

__all__ = ["KINDS", "Kind", "Place", "Settings"]


@attrs.frozen
class Settings:
    """
    How a server treats its clients; the same for each kind.

    Attributes:
        gzip: Whether it compresses JSON. Without, it streams, and JSON comes in chunks.
        requests: Requests on a connection at the most.
        idle: Milliseconds after which it closes a connection that nobody uses; lighttpd counts in
            whole seconds.
        raw_paths: Whether paths go on as they were sent, where its default is otherwise.
    """

    gzip: bool = False
    requests: int = 10_000
    idle: int = 60_000
    raw_paths: bool = True


@attrs.frozen
class Place:
    """
    Where a server lives.

    Attributes:
        folder: For its configuration, its log and whatever else it writes.
        upstream: The port of the service behind it.
    """

    folder: str
    port: int
    tls_port: int
    upstream: int


def _nginx(place: Place, settings: Settings) -> str:
    temporary = "\n".join(
        f"  {name}_temp_path {place.folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # With a URI of its own, proxy_pass would send on what it decoded.
    uri = "" if settings.raw_paths else "/"
    return f"""\
daemon off;
worker_processes 1;
pid {place.folder}/pid;
events {{ worker_connections 256; }}
http {{
{temporary}
  access_log off;
  gzip {"on" if settings.gzip else "off"};
  gzip_types application/json;
  gzip_min_length 1;
  keepalive_requests {settings.requests};
  keepalive_timeout {settings.idle}ms;
  server {{
    listen 127.0.0.1:{place.port};
    listen 127.0.0.1:{place.tls_port} ssl;
    ssl_certificate {place.folder}/certificate.pem;
    ssl_certificate_key {place.folder}/key.pem;
    location / {{
      proxy_pass http://127.0.0.1:{place.upstream}{uri};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def _apache(place: Place, settings: Settings) -> str:
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http", "filter", "deflate", "ssl")
    )
    # Its default answers 404 by itself to any path with %2F.
    slashes, canonical = ("NoDecode", "nocanon") if settings.raw_paths else ("Off", "")
    compress = "AddOutputFilterByType DEFLATE application/json" if settings.gzip else ""
    return f"""\
ServerRoot "{place.folder}"
ServerName 127.0.0.1
DefaultRuntimeDir "{place.folder}"
PidFile "{place.folder}/pid"
ErrorLog "{place.folder}/log"
{modules}
ServerLimit 1
StartServers 1
ThreadsPerChild 48
MaxRequestWorkers 48
MinSpareThreads 1
MaxSpareThreads 48
Listen 127.0.0.1:{place.port}
Listen 127.0.0.1:{place.tls_port}
KeepAlive On
MaxKeepAliveRequests {settings.requests}
KeepAliveTimeout {settings.idle}ms
SSLSessionCache none
LogLevel warn ssl:error
{compress}
AllowEncodedSlashes {slashes}
# Without retry=0 it would not ask an upstream that was gone again for a minute.
ProxyPass "/" "http://127.0.0.1:{place.upstream}/" retry=0 {canonical}
<VirtualHost 127.0.0.1:{place.port}>
  AllowEncodedSlashes {slashes}
</VirtualHost>
<VirtualHost 127.0.0.1:{place.tls_port}>
  AllowEncodedSlashes {slashes}
  SSLEngine on
  SSLCertificateFile "{place.folder}/certificate.pem"
  SSLCertificateKeyFile "{place.folder}/key.pem"
</VirtualHost>
"""


def _haproxy(place: Place, settings: Settings) -> str:
    compress = "compression algo gzip\n  compression type application/json"
    # It has no bound of its own: a table counts the requests of each connection.
    count = f"""\
stick-table type integer size 10k expire 1m store http_req_cnt
  http-request track-sc0 src_port
  acl last sc0_http_req_cnt ge {settings.requests}
  http-after-response set-header connection close if last"""
    return f"""\
global
  nbthread 1
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive {settings.idle}ms
  # Each would wait a second for an upstream that is gone.
  retries 0
frontend front
  bind 127.0.0.1:{place.port}
  bind 127.0.0.1:{place.tls_port} ssl crt {place.folder}/bundle.pem
  {compress if settings.gzip else ""}
  {count}
  default_backend back
backend back
  server service 127.0.0.1:{place.upstream}
"""


def _lighttpd(place: Place, settings: Settings) -> str:
    # It compresses whole answers only, so it does not stream then.
    body = (
        'deflate.mimetypes = ("application/json")\n'
        'deflate.allowed-encodings = ("gzip")\n'
        "deflate.min-compress-size = 1"
        if settings.gzip
        else "server.stream-response-body = 1"
    )
    # Its default resolves %2F before it looks at the path.
    raw = 'server.http-parseopts = ("url-normalize" => "disable")' if settings.raw_paths else ""
    return f"""\
server.document-root = "{place.folder}"
server.bind = "127.0.0.1"
server.port = {place.port}
server.modules = ("mod_proxy", "mod_deflate", "mod_openssl")
server.pid-file = "{place.folder}/pid"
server.upload-dirs = ("{place.folder}")
server.max-keep-alive-requests = {settings.requests}
server.max-keep-alive-idle = {max(settings.idle // 1000, 1)}
{body}
{raw}
# Without disable-time it would not ask an upstream that was gone again for a second.
proxy.server = ("" => ((
  "host" => "127.0.0.1", "port" => {place.upstream}, "disable-time" => 0
)))
$SERVER["socket"] == "127.0.0.1:{place.tls_port}" {{
  ssl.engine = "enable"
  ssl.pemfile = "{place.folder}/certificate.pem"
  ssl.privkey = "{place.folder}/key.pem"
}}
"""


@attrs.frozen
class Kind:
    """
    One kind of server.

    Attributes:
        binary: What is run, from Debian's package of the name `package`.
        arguments: To run it in the foreground; ``{folder}`` is its own.
    """

    name: str
    binary: str
    package: str
    arguments: tuple[str, ...]
    configuration: Callable[[Place, Settings], str]


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "nginx",
            "nginx",
            "nginx-light",
            ("-p", "{folder}", "-e", "{folder}/log", "-c", "{folder}/configuration"),
            _nginx,
        ),
        Kind(
            "apache",
            "apache2",
            "apache2",
            ("-D", "FOREGROUND", "-f", "{folder}/configuration"),
            _apache,
        ),
        Kind("haproxy", "haproxy", "haproxy", ("-db", "-f", "{folder}/configuration"), _haproxy),
        Kind(
            "lighttpd",
            "lighttpd",
            "lighttpd",
            ("-D", "-f", "{folder}/configuration"),
            _lighttpd,
        ),
    )
}
