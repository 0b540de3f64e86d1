//! What somebody has sent, as JSON tree, text or bytes. All of it through text nodes: markup in it is shown, and never becomes any.

use leptos::prelude::*;

use crate::model::format::{bytes, count};
use crate::model::payload::{HexRow, Node, Payload, hex, of, text};
use crate::parts::control::Seg;

/// The forms, as they are chosen among.
const HEX: &str = "Hex";
const TEXT: &str = "Text";
const JSON: &str = "JSON";

/// The viewer. It opens in the form that says most.
#[component]
pub fn PayloadView(
    /// What was sent.
    content: Vec<u8>,
) -> impl IntoView {
    let found = of(&content);
    // The best comes first.
    let form = RwSignal::new(0_usize);
    let plain = text(&content);
    let mut choices = vec![HEX];
    if plain.is_some() {
        choices.insert(0, TEXT);
    }
    if matches!(found, Payload::Json(_)) {
        choices.insert(0, JSON);
    }
    let size = bytes(content.len() as u64);
    let (rows, more) = hex(&content);
    let forms = choices.clone();
    let shown = move || match (forms.get(form.get()).copied().unwrap_or(HEX), &found) {
        (_, Payload::Empty) => view! { <p class="dim">"Empty: the message is its properties alone."</p> }.into_any(),
        (JSON, Payload::Json(node)) => view! { <div class="json" tabindex="0"><ul>{root(node.clone())}</ul></div> }.into_any(),
        (TEXT, _) => view! { <pre class="code" tabindex="0">{plain.clone()}</pre> }.into_any(),
        _ => dump(&rows, more).into_any(),
    };
    view! {
        <div class="row row--wrap"><Seg label="Form" choices chosen=form choose=Callback::new(move |form_| form.set(form_)) /><span class="panel__note push">{size}</span></div>
        {move || shown()}
    }
    .into_any()
}

fn dump(rows: &[HexRow], more: usize) -> impl IntoView + use<> {
    let lines: String = rows.iter().map(|row| format!("{}  {:<47}  {}\n", row.offset, row.digits, row.letters)).collect();
    view! {
        <pre class="code" tabindex="0">{lines}</pre>
        {(more > 0).then(|| view! { <p class="dim">{format!("and {} more", bytes(more as u64))}</p> })}
    }
}

/// Open members of an object or array at first: more, or deeper ones, are folded.
const OPEN_MAX: usize = 20;
const OPEN_DEPTH: usize = 2;

/// Its members at once, if they are not too many.
fn root(node: Node) -> AnyView {
    match node {
        Node::Object(members, 0) if (1..=OPEN_MAX).contains(&members.len()) => {
            members.into_iter().map(|(name, node)| branch(Some(name), node, 1)).collect::<Vec<_>>().into_any()
        }
        node => branch(None, node, 0),
    }
}

fn branch(name: Option<String>, node: Node, depth: usize) -> AnyView {
    let key = name.map(|name| view! { <span class="json__key">{name}</span>": " });
    let (children, more, what) = match node {
        Node::Object(members, more) => {
            let members: Vec<_> = members.into_iter().map(|(name, node)| branch(Some(name), node, depth + 1)).collect();
            (members, more, ("field", "fields"))
        }
        Node::Array(values, more) => (values.into_iter().map(|node| branch(None, node, depth + 1)).collect(), more, ("value", "values")),
        leaf => return view! { <li>{key}{value(leaf)}</li> }.into_any(),
    };
    let all = children.len() + more;
    let (size, is_open) = (count(all as u64, what.0, what.1), depth < OPEN_DEPTH && all <= OPEN_MAX);
    view! {
        <li>
            <details open=is_open>
                <summary>{key}<span class="json__n">{size}</span></summary>
                <ul>{children}{(more > 0).then(|| view! { <li class="json__n">{format!("and {more} more")}</li> })}</ul>
            </details>
        </li>
    }
    .into_any()
}

fn value(node: Node) -> AnyView {
    match node {
        Node::Text(text) => view! { <span class="json__str">"\""{text}"\""</span> }.into_any(),
        Node::Number(number) => view! { <span class="json__num">{number}</span> }.into_any(),
        Node::Literal(word) => view! { <span class="json__lit">{word}</span> }.into_any(),
        Node::Deeper | Node::Object(..) | Node::Array(..) => view! { <span class="json__n">"too deep to show"</span> }.into_any(),
    }
}
