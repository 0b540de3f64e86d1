//! The live link's one socket, at `GET /api/v1/live`: all that any part of the page wants to hear goes over it. The only place that knows of
//! sockets.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{CloseEvent, MessageEvent, WebSocket};

use super::ask::{Ask, subscription_of, unsubscribe};
use super::state::{Act, Link, Status, Told};
use crate::browser::{chance, now};
use crate::model::change::{Message, What, parse};
use crate::model::json::{object, read};
use crate::model::shelf::Shelf;

/// How often the machine is asked whether it is time for something.
const TICK: Duration = Duration::from_millis(250);

/// The subscription that the link itself goes by: all changes.
const MAIN: u32 = 1;

/// What every message says.
#[derive(Default)]
struct Envelope {
    kind: String,
    position: Option<String>,
    message: Option<String>,
}

object!(Envelope { kind: "kind", position: "position", message: "message" });

/// The hub ends a link with a longer request (docs/live.md), and every one after it in which it is said again; a position may be added.
const REQUEST_MAX_BYTES: usize = 4_000;

/// What is said in the hub's place then.
const TOO_LONG: &str = r#"{"kind":"problem","message":"the filter or the address is too long: together they may have 4,000 bytes"}"#;

/// The link, for as long as its owner keeps it.
pub struct Live {
    inner: Rc<RefCell<Inner>>,
    timer: Option<IntervalHandle>,
}

struct Inner {
    link: Link,
    socket: Option<Socket>,
    main: Ask,
    told: Rc<dyn Fn(What)>,
    others: Shelf<u32, Other>,
    next: u32,
    status: RwSignal<Status>,
    this: Weak<RefCell<Inner>>,
}

/// Is told what kind of message has come, and all of it.
type Ear = Rc<dyn Fn(&str, &str)>;

/// Somebody who wants to hear something besides.
struct Other {
    ask: Ask,
    /// Behind what it goes on.
    position: Option<String>,
    told: Ear,
}

struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn Fn()>,
    _heard: Closure<dyn Fn(MessageEvent)>,
    _closed: Closure<dyn Fn(CloseEvent)>,
}

/// Ends what it stands for when it goes.
pub struct Subscription {
    inner: Weak<RefCell<Inner>>,
    id: u32,
}

impl Live {
    /// Opens it, and says what changes come.
    pub fn open(main: Ask, told: impl Fn(What) + 'static) -> Self {
        let link = Link::new(now());
        let status = RwSignal::new(link.status(now()));
        let inner = Rc::new_cyclic(|this| {
            let this = Weak::clone(this);
            RefCell::new(Inner { link, socket: None, main, told: Rc::new(told), others: Shelf::default(), next: MAIN + 1, status, this })
        });
        inner.borrow_mut().open(None);
        let ticking = Rc::downgrade(&inner);
        let timer = set_interval_with_handle(
            move || {
                if let Some(inner) = ticking.upgrade() {
                    let act = inner.borrow_mut().link.tick(now());
                    inner.borrow_mut().act(act);
                }
            },
            TICK,
        );
        Self { inner, timer: timer.ok() }
    }

    /// Asks for something more, on this socket and on those that come after it. `from` is where it goes on, for what has positions.
    pub fn subscribe(&self, ask: Ask, from: Option<String>, told: impl Fn(&str, &str) + 'static) -> Subscription {
        let mut inner = self.inner.borrow_mut();
        let id = inner.next;
        inner.next += 1;
        let request = ask.request(id, from.as_deref());
        if request.len() <= REQUEST_MAX_BYTES {
            inner.say(&request);
            inner.others.insert(id, Other { ask, position: from, told: Rc::new(told) });
        } else {
            set_timeout(move || told("problem", TOO_LONG), Duration::ZERO);
        }
        Subscription { inner: Rc::downgrade(&self.inner), id }
    }

    /// How it is.
    pub fn status(&self) -> RwSignal<Status> {
        self.inner.borrow().status
    }

    /// For somebody who does not want to wait.
    pub fn try_now(&self) {
        let act = self.inner.borrow_mut().link.try_now(now());
        self.inner.borrow_mut().act(act);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.clear();
        }
        self.inner.borrow_mut().shut();
    }
}

impl Subscription {
    /// Behind what it would go on.
    pub fn position(&self) -> Option<String> {
        self.inner.upgrade()?.borrow().others.get(&self.id)?.position.clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        // Whoever is told something may end what told it.
        let Ok(mut inner) = inner.try_borrow_mut() else { return };
        if inner.others.remove(&self.id).is_some() {
            inner.say(&unsubscribe(self.id));
        }
    }
}

impl Inner {
    fn act(&mut self, act: Act) {
        match act {
            Act::None => {}
            Act::Open(from) => self.open(from),
            Act::Close => {
                self.shut();
                self.link.closed(now(), chance());
            }
        }
        self.show();
    }

    fn show(&self) {
        let status = self.link.status(now());
        if self.status.try_get_untracked().is_some_and(|said| said != status) {
            self.status.set(status);
        }
    }

    /// What can't be said now is said on the next socket.
    fn say(&self, text: &str) {
        if let Some(Socket { socket, .. }) = self.socket.as_ref().filter(|socket| socket.socket.ready_state() == WebSocket::OPEN) {
            let _ = socket.send_with_str(text);
        }
    }

    fn open(&mut self, from: Option<String>) {
        self.shut();
        let Some(socket) = window().location().host().ok().and_then(|host| WebSocket::new(&format!("wss://{host}/api/v1/live")).ok())
        else {
            self.link.closed(now(), chance());
            return;
        };
        let of = |this: &Weak<RefCell<Self>>| Weak::clone(this);
        let (opening, hearing, closing) = (of(&self.this), of(&self.this), of(&self.this));
        let opened = Closure::<dyn Fn()>::new(move || {
            let Some(inner) = opening.upgrade() else { return };
            let mut inner = inner.borrow_mut();
            inner.link.opened(now());
            inner.say(&inner.main.request(MAIN, from.as_deref()));
            inner.others.iter().for_each(|(id, other)| inner.say(&other.ask.request(*id, other.position.as_deref())));
            inner.show();
        });
        let heard = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            if let (Some(inner), Some(text)) = (hearing.upgrade(), event.data().as_string()) {
                hear(&inner, &text);
            }
        });
        let closed = Closure::<dyn Fn(CloseEvent)>::new(move |_| {
            if let Some(inner) = closing.upgrade() {
                inner.borrow_mut().link.closed(now(), chance());
                inner.borrow().show();
            }
        });
        socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
        self.socket = Some(Socket { socket, _opened: opened, _heard: heard, _closed: closed });
    }

    /// Nothing is heard of it any more.
    fn shut(&mut self) {
        if let Some(Socket { socket, .. }) = self.socket.take() {
            socket.set_onopen(None);
            socket.set_onmessage(None);
            socket.set_onclose(None);
            let _ = socket.close();
        }
    }

    /// Who is to be told of a message that is not of the main subscription.
    fn other(&mut self, id: u32, Envelope { kind, position, .. }: &Envelope) -> Option<Ear> {
        let other = self.others.get_mut(&id)?;
        match kind.as_str() {
            // There is nowhere to go on from in its middle.
            "snapshot-begin" | "reset" => other.position = None,
            _ if position.is_some() => other.position.clone_from(position),
            _ => {}
        }
        Some(Rc::clone(&other.told))
    }
}

/// Nobody is told anything while the link is borrowed: they may ask it for more.
fn hear(inner: &Rc<RefCell<Inner>>, text: &str) {
    let (Some(id), Ok(envelope)) = (subscription_of(text), read::<Envelope>(text)) else { return };
    if id > MAIN {
        inner.borrow_mut().link.sounded(now());
        let told = inner.borrow_mut().other(id, &envelope);
        if let Some(told) = told {
            told(&envelope.kind, text);
        }
        return;
    }
    let message = match (id, envelope.kind.as_str()) {
        (MAIN, _) => parse(text),
        (_, "problem") => envelope.message.map(|problem| Message { position: None, what: What::Problem(problem) }),
        _ => None,
    };
    let Some(message) = message else {
        inner.borrow_mut().link.sounded(now());
        return;
    };
    let told = inner.borrow_mut().link.heard(message, now());
    inner.borrow().show();
    let tell = Rc::clone(&inner.borrow().told);
    match told {
        Told::Message(what) => tell(what),
        Told::Over => inner.borrow_mut().act(Act::Close),
        Told::Nothing => {}
    }
}
