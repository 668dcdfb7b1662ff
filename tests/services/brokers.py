"""Real brokers that speak STOMP, for tests: an ActiveMQ and a RabbitMQ of Debian on loopback, with TLS beside, in a folder of their own."""

import os
import signal
import socket
import ssl
import subprocess
from pathlib import Path

from daemons import PATH, certificate, free_ports, lacking, wait_until

JARS = "/usr/share/activemq/bin/activemq.jar"
RABBIT = Path("/usr/lib/rabbitmq/lib")
LOGIN = ("nightshift", "a secret")
PROGRAMS = {"activemq": ["java", "activemq"], "rabbitmq": ["rabbitmq-server", "epmd"]}

ACTIVEMQ = """<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
 http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
 <broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" brokerName="localhost" dataDirectory="{folder}/data">
  <persistenceAdapter><kahaDB directory="{folder}/data/kahadb" journalMaxFileLength="8mb"/></persistenceAdapter>
  <plugins><simpleAuthenticationPlugin><users>
   <authenticationUser username="nightshift" password="a secret" groups="users"/>
  </users></simpleAuthenticationPlugin></plugins>
  <sslContext><sslContext keyStore="{folder}/store.p12" keyStorePassword="password" keyStoreType="PKCS12"/></sslContext>
  <transportConnectors>
   <transportConnector name="stomp" uri="stomp+nio://127.0.0.1:{port}?transport.hbGracePeriodMultiplier=1.5"/>
   <transportConnector name="stomp+ssl" uri="stomp+nio+ssl://127.0.0.1:{tls}"/>
  </transportConnectors>
 </broker>
</beans>
"""
RABBITMQ = """
listeners.tcp = none
stomp.listeners.tcp.1 = 127.0.0.1:{port}
stomp.listeners.ssl.1 = 127.0.0.1:{tls}
ssl_options.certfile = {folder}/certificate.pem
ssl_options.keyfile = {folder}/certificate.key
default_user = nightshift
default_pass = a secret
log.file.level = warning
"""


def missing(kind):
    """Programs of a kind of broker that this machine lacks."""
    return lacking(PROGRAMS[kind])


class Broker:
    """A broker in a folder that can be stopped, killed and started again with what it has kept.

    port, tls : of STOMP without and with TLS; certificate : the file that vouches for it.
    """

    def __init__(self, kind, folder):
        self.kind, self.folder, self.processes = kind, folder, []
        self.port, self.tls, self.names, self.distribution = free_ports(4)
        self.certificate, key = certificate(folder)
        if kind == "activemq":
            pack = ["openssl", "pkcs12", "-export", "-in", self.certificate, "-inkey", key, "-out", folder / "store.p12", "-passout", "pass:password"]
            subprocess.run(pack, check=True, capture_output=True, timeout=60)
            (folder / "activemq.xml").write_text(ACTIVEMQ.format(folder=folder, port=self.port, tls=self.tls))
        else:
            (folder / "rabbitmq.conf").write_text(RABBITMQ.format(folder=folder, port=self.port, tls=self.tls))
            (folder / "enabled_plugins").write_text("[rabbitmq_stomp].\n")

    def command(self):
        """(command, environment) of the broker."""
        folder = self.folder
        if self.kind == "activemq":
            options = [f"-Dactivemq.{name}={folder}" for name in ("base", "conf", "data")]
            options += ["-Dactivemq.home=/usr/share/activemq", f"-Djava.io.tmpdir={folder}", "-Xmx512m", "-XX:+UseSerialGC"]
            return ["java", *options, "-jar", JARS, "start", f"xbean:file:{folder}/activemq.xml"], {"PATH": PATH, "HOME": str(folder)}
        home = next(RABBIT.glob("rabbitmq_server-*"))
        settings = {
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 1:1",
            "ERL_EPMD_PORT": str(self.names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "HOME": str(folder),
        }
        return [str(home / "sbin/rabbitmq-server")], {"PATH": PATH, "LANG": "C.UTF-8"} | settings

    def start(self):
        """Start it, and wait until it speaks STOMP."""
        if self.kind == "rabbitmq" and not self.processes:
            environment = {"PATH": PATH, "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(self.folder)}
            self.processes.append(self.launch(["epmd", "-port", str(self.names)], environment))
        command, environment = self.command()
        self.processes.append(self.launch(command, environment))
        if not wait_until(lambda: self.processes[-1].poll() is not None or self.speaks(), 150) or self.processes[-1].poll() is not None:
            raise RuntimeError(f"{self.kind} did not come up: {(self.folder / 'broker.out').read_text(errors='replace')[-800:]}")

    def launch(self, command, environment):
        with (self.folder / "broker.out").open("ab") as log:
            return subprocess.Popen(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def speaks(self):
        """Whether a login is answered; a port that listens says little of a broker that is still starting."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as one:
                one.settimeout(2)
                one.sendall(b"STOMP\naccept-version:1.2\nhost:/\nlogin:nightshift\npasscode:a secret\n\n\x00")
                return one.recv(9) == b"CONNECTED"
        except OSError:
            return False

    def end(self, number=signal.SIGKILL):
        """End the broker by a signal to its own group, and wait until it is gone."""
        broker = self.processes.pop()
        os.killpg(broker.pid, number)
        try:
            broker.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(broker.pid, signal.SIGKILL)
            broker.wait()

    def close(self):
        """End everything that was started."""
        while self.processes:
            self.end()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()


def trusted(broker):
    """A context of TLS that trusts the certificate of a broker."""
    return ssl.create_default_context(cafile=broker.certificate)
