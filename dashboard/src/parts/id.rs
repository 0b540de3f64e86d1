//! Ids: in mono, cut in the middle where they are long, whole in the title.

use leptos::prelude::*;

use crate::model::payload::harmless;
use crate::model::words::head_and_tail;
use crate::routes::Route;

/// An id: as it is, but for what would deceive the eye.
#[component]
pub fn Id(
    /// Whole.
    #[prop(into)]
    id: String,
) -> impl IntoView {
    let id = harmless(&id);
    let (head, tail) = head_and_tail(&id);
    if tail.is_empty() {
        return view! { <span class="id">{id}</span> }.into_any();
    }
    let (head, tail) = (head.to_owned(), tail.to_owned());
    view! { <span class="id id--cut" title=id><span class="id__head">{head}</span><span class="id__tail">{tail}</span></span> }.into_any()
}

/// A device's id, which leads to its page.
#[component]
pub fn DeviceLink(
    /// Whole. It may be empty: whoever is refused need not say who it is.
    #[prop(into)]
    id: String,
) -> impl IntoView {
    if id.is_empty() {
        return view! { <span class="dim">"nobody"</span> }.into_any();
    }
    let path = Route::Device(id.clone()).path();
    view! { <a href=path><Id id /></a> }.into_any()
}
