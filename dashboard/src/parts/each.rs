//! Lists of things that come and go. A thing is drawn once, when its key is new, and stays as it is for as long as its key is there. One piece of
//! code for all of them: Leptos' own `For` is made anew for each type of things, keys and views.

use std::sync::Arc;

use leptos::prelude::*;

/// What there is to draw, by its key.
type Item = (String, Box<dyn FnOnce() -> AnyView + Send>);

/// All that there are, in their order.
pub fn each<T: Send + 'static, V: IntoView + 'static>(
    items: impl Fn() -> Vec<T> + Send + Sync + 'static,
    key: fn(&T) -> String,
    draw: impl Fn(T) -> V + Send + Sync + 'static,
) -> AnyView {
    let draw = Arc::new(draw);
    list(Arc::new(move || {
        let item = |item: T| -> Item {
            let draw = Arc::clone(&draw);
            (key(&item), Box::new(move || draw(item).into_any()))
        };
        items().into_iter().map(item).collect()
    }))
}

fn list(items: Arc<dyn Fn() -> Vec<Item> + Send + Sync>) -> AnyView {
    view! { <For each=move || items() key=|(key, _)| key.clone() let((_, draw))>{draw()}</For> }.into_any()
}
