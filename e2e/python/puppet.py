"""Qpid Proton, a client of AMQP and of nothing else, that does what it is told and says what it sees: `puppet.js` says how it is talked with.

Of its own it has `coordinator: true` for a sender: a link for transactions.
"""

import base64
import json
import os
import sys
import threading

import cproton
from proton import Delivery, Handler, Link, Message, SSLDomain, Terminus
from proton.reactor import ApplicationEvent, Container, EventInjector

ENVIRONMENT = os.environ
OUTCOMES = {Delivery.ACCEPTED: "accepted", Delivery.REJECTED: "rejected", Delivery.RELEASED: "released", Delivery.MODIFIED: "modified"}


def report(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def said(condition):
    return {"condition": condition.name, "description": condition.description} if condition else {}


def tag_bytes(delivery):
    # The binding itself takes every tag for text.
    return cproton.lib.pn_delivery_tag(delivery._impl).size


class Puppet(Handler):
    def __init__(self, injector):
        super().__init__()
        self.injector = injector
        self.links, self.sessions, self.sent, self.unsettled = {}, {}, {}, []
        self.tokens = None
        self.waiting = []

    # What the reactor says.

    def on_reactor_init(self, event):
        host = ENVIRONMENT["HOST"]
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(ENVIRONMENT["SSL_CERT_FILE"])
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME, ENVIRONMENT["SSL_CERT_FILE"])
        options = {"sasl_enabled": False}
        if "USER_NAME" in ENVIRONMENT:
            options = {"user": ENVIRONMENT["USER_NAME"], "password": ENVIRONMENT["PASSWORD"], "allowed_mechs": "PLAIN"}
        if "CERTIFICATE" in ENVIRONMENT:
            domain.set_credentials(ENVIRONMENT["CERTIFICATE"], ENVIRONMENT["KEY"], None)
            options = {"allowed_mechs": "EXTERNAL"}
        if "MAX_FRAME_SIZE" in ENVIRONMENT:
            options["max_frame_size"] = int(ENVIRONMENT["MAX_FRAME_SIZE"])
        if "IDLE_TIME_OUT_MS" in ENVIRONMENT:
            options["heartbeat"] = int(ENVIRONMENT["IDLE_TIME_OUT_MS"]) / 1000
        container = event.container
        self.connection = container.connect(f"amqps://{host}:5671", handler=self, ssl_domain=domain, reconnect=False, virtual_host=host, **options)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in sys.stdin:
            self.injector.trigger(ApplicationEvent("told", subject=json.loads(line)))
        self.injector.trigger(ApplicationEvent("told_all"))

    def on_told(self, event):
        told = event.subject
        getattr(self, told["do"])(told)

    def on_told_all(self, event):
        os._exit(0)

    def on_connection_remote_open(self, event):
        report("connected", maxFrameSize=event.transport.remote_max_frame_size)

    def on_connection_remote_close(self, event):
        report("closed", **said(event.connection.remote_condition))
        event.connection.close()

    def on_transport_error(self, event):
        report("error", error=str(event.transport.condition))

    def on_transport_closed(self, event):
        report("disconnected")

    def on_link_remote_open(self, event):
        link = event.link
        granted = link.remote_target if link.is_sender else link.remote_source
        if self.links.get(link.name) == link and granted.address is not None:
            report("attached", link=link.name, sndSettleMode=link.remote_snd_settle_mode, rcvSettleMode=link.remote_rcv_settle_mode,
                   maxMessageSize=link.remote_max_message_size)

    def on_link_remote_close(self, event):
        link = event.link
        if self.links.get(link.name) == link:
            report("detached", link=link.name, **said(link.remote_condition))
        link.close()

    def on_link_flow(self, event):
        link = event.link
        if link.is_sender:
            self.put_on()
        elif link.drained() or (link.drain_mode and link.credit == 0):
            if self.draining.pop(link.name, None):
                link.drain_mode = False
                report("drained", link=link.name, credit=link.credit)

    def on_delivery(self, event):
        delivery, link = event.delivery, event.link
        if link.is_receiver:
            self.on_received(delivery, link)
        elif delivery.updated:
            name = self.sent.pop(delivery.tag, None)
            if name is not None and delivery.remote_state in OUTCOMES:
                report("outcome", link=name, outcome=OUTCOMES[delivery.remote_state], **said(delivery.remote.condition))
                delivery.settle()

    def on_received(self, delivery, link):
        if delivery.readable and not delivery.partial:
            came = Message()
            data = link.recv(delivery.pending)
            came.decode(data)
            link.advance()
            if self.tokens and link == self.tokens[1]:
                report("token", audience=came.correlation_id, status=came.properties["status-code"])
                delivery.settle()
                return
            if not delivery.settled:
                self.unsettled.append((link, delivery))
            body = came.body if isinstance(came.body, bytes) else bytes(came.body or b"")
            report("received", link=link.name, settled=delivery.settled, tagBytes=tag_bytes(delivery), body=base64.b64encode(body).decode(),
                   messageId=came.id, deliveryCount=(came.annotations or {}).get("iothub-deliverycount"))
        elif delivery.updated and delivery.settled and delivery.local_state in OUTCOMES:
            delivery.settle()
            report("settled", link=link.name)

    # What it is told.

    def token(self, told):
        if not self.tokens:
            session = self.session(None)
            self.tokens = (session.sender("tokens"), session.receiver("answers"))
            self.tokens[0].target.address = self.tokens[1].source.address = "$cbs"
            for link in self.tokens:
                link.open()
            self.tokens[1].flow(100)
        put = Message(id=told["audience"], body=told["token"])
        put.properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": told["audience"]}
        self.waiting.append(put)
        self.put_on()

    def put_on(self):
        while self.waiting and self.tokens[0].credit:
            self.tokens[0].send(self.waiting.pop(0)).settle()

    def sender(self, told):
        link = self.session(told.get("session")).sender(told["link"])
        link.target.address = told.get("address")
        link.target.dynamic = bool(told.get("dynamic"))
        if told.get("coordinator"):
            link.target.type = Terminus.COORDINATOR
        self.open(link, told)

    def receiver(self, told):
        link = self.session(told.get("session")).receiver(told["link"])
        link.source.address = told.get("address")
        link.source.dynamic = bool(told.get("dynamic"))
        self.open(link, told)

    def open(self, link, told):
        link.snd_settle_mode = told.get("sndSettleMode", Link.SND_MIXED)
        link.rcv_settle_mode = told.get("rcvSettleMode", Link.RCV_FIRST)
        self.links[told["link"]] = link
        link.open()

    def send(self, told):
        link = self.links[told["link"]]
        if "garbage" in told:
            delivery = link.delivery(f"garbage {len(self.sent)}")
            link.stream(base64.b64decode(told["garbage"]))
            link.advance()
        else:
            message = Message(body=base64.b64decode(told["body"]), inferred=True)
            message.id = told.get("messageId")
            message.properties = told.get("applicationProperties")
            delivery = link.send(message)
        if told.get("settled"):
            delivery.settle()
        else:
            self.sent[delivery.tag] = told["link"]

    draining = {}

    def credit(self, told):
        link = self.links[told["link"]]
        if told.get("drain"):
            self.draining[told["link"]] = True
            link.drain(told["credit"])
        else:
            link.flow(told["credit"])

    def settle(self, told):
        place = next(place for place, (link, _) in enumerate(self.unsettled) if link.name == told["link"])
        link, delivery = self.unsettled.pop(place)
        outcome = told["outcome"]
        if outcome == "failed":
            delivery.local.failed = True
        elif outcome == "undeliverable":
            delivery.local.undeliverable = True
        states = {"accepted": Delivery.ACCEPTED, "released": Delivery.RELEASED, "rejected": Delivery.REJECTED}
        delivery.update(states.get(outcome, Delivery.MODIFIED))
        if link.rcv_settle_mode != Link.RCV_SECOND:
            delivery.settle()
            report("settled", link=told["link"])

    def detach(self, told):
        self.links[told["link"]].close()

    def session(self, name):
        if name not in self.sessions:
            self.sessions[name] = self.connection.session()
            self.sessions[name].open()
        return self.sessions[name]


injector = EventInjector()
container = Container(Puppet(injector))
container.selectable(injector)
container.run()
