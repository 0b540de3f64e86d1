//! The live link's sockets. The only place that knows how the hub is asked for its changes: a WebSocket each, at `GET /api/v1/changes`.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{CloseEvent, MessageEvent, WebSocket};

use super::state::{Act, Link, Status, Told};
use crate::browser::{chance, now};
use crate::model::change::{What, parse};
use crate::routes::Query;

/// How often the machine is asked whether it is time for something.
const TICK: std::time::Duration = std::time::Duration::from_millis(250);

/// What to be told.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// With commas.
    pub kinds: &'static str,
    /// Only of this device.
    pub device: Option<String>,
    /// Whether how things stand is told first.
    pub snapshot: bool,
}

impl Interest {
    fn address(&self, from: Option<&str>) -> Option<String> {
        let location = window().location();
        let query = Query::default().with("kinds", self.kinds).with("device", self.device.clone().unwrap_or_default());
        let query = match from {
            // A hub that can't go on from there tells how things stand, to whoever wants to know at all.
            Some(from) if self.snapshot => query.with("from", from),
            Some(from) => query.with("from", from).with("snapshot", "false"),
            None => query.with("snapshot", if self.snapshot { "true" } else { "false" }),
        };
        // Commas stay readable, and the API takes them so.
        Some(format!("wss://{}/api/v1/changes{}", location.host().ok()?, query.text()))
    }
}

/// A stream of changes, for as long as its owner keeps it.
pub struct Live {
    inner: Rc<RefCell<Inner>>,
    timer: Option<IntervalHandle>,
}

struct Inner {
    interest: Interest,
    link: Link,
    socket: Option<Socket>,
    told: Rc<dyn Fn(What)>,
    status: RwSignal<Status>,
    this: Weak<RefCell<Inner>>,
}

struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn Fn()>,
    _heard: Closure<dyn Fn(MessageEvent)>,
    _closed: Closure<dyn Fn(CloseEvent)>,
}

impl Live {
    /// Opens it, and says what comes.
    pub fn open(interest: Interest, told: impl Fn(What) + 'static) -> Self {
        let link = Link::new(now());
        let status = RwSignal::new(link.status(now()));
        let inner = Rc::new_cyclic(|this| {
            RefCell::new(Inner { interest, link, socket: None, told: Rc::new(told), status, this: Weak::clone(this) })
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

    /// How it is.
    pub fn status(&self) -> RwSignal<Status> {
        self.inner.borrow().status
    }

    /// For somebody who does not want to wait.
    pub fn try_now(&self) {
        let act = self.inner.borrow_mut().link.try_now();
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

impl Inner {
    fn act(&mut self, act: Act) {
        match act {
            Act::None => {}
            Act::Open(from) => self.open(from.as_deref()),
            Act::Close => {
                self.shut();
                self.link.closed(now(), chance());
            }
        }
        self.say();
    }

    fn say(&self) {
        let status = self.link.status(now());
        if self.status.try_get_untracked().is_some_and(|said| said != status) {
            self.status.set(status);
        }
    }

    fn open(&mut self, from: Option<&str>) {
        self.shut();
        let socket = self.interest.address(from).and_then(|address| WebSocket::new(&address).ok());
        let Some(socket) = socket else {
            self.link.closed(now(), chance());
            return;
        };
        let of = |this: &Weak<RefCell<Self>>| Weak::clone(this);
        let (opening, hearing, closing) = (of(&self.this), of(&self.this), of(&self.this));
        let opened = Closure::<dyn Fn()>::new(move || {
            if let Some(inner) = opening.upgrade() {
                inner.borrow_mut().link.opened(now());
                inner.borrow().say();
            }
        });
        let heard = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            let (Some(inner), Some(text)) = (hearing.upgrade(), event.data().as_string()) else { return };
            let Some(message) = parse(&text) else { return };
            let told = inner.borrow_mut().link.heard(message, now());
            inner.borrow().say();
            let tell = Rc::clone(&inner.borrow().told);
            if let Told::Message(what) = told {
                tell(what);
            }
        });
        let closed = Closure::<dyn Fn(CloseEvent)>::new(move |_| {
            if let Some(inner) = closing.upgrade() {
                inner.borrow_mut().link.closed(now(), chance());
                inner.borrow().say();
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
}
