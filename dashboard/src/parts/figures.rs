//! What a chart shows, as a table, for those who ask for it: whoever can't see the chart, or wants its numbers. It is found with the keyboard.

use leptos::prelude::*;

/// The table, behind a word that opens it. It says how things stood when it was opened.
#[component]
pub fn Figures(
    /// What each column is.
    head: Vec<&'static str>,
    /// The rows.
    rows: Callback<(), Vec<Vec<String>>>,
) -> impl IntoView {
    let open = RwSignal::new(false);
    let table = move || {
        let line = |cells: Vec<String>| view! { <tr>{cells.into_iter().map(|cell| view! { <td>{cell}</td> }).collect_view()}</tr> };
        view! {
            <table>
                <thead><tr>{head.iter().map(|word| view! { <th scope="col">{*word}</th> }).collect_view()}</tr></thead>
                <tbody>{rows.run(()).into_iter().map(line).collect_view()}</tbody>
            </table>
        }
    };
    view! {
        <details class="figures" on:toggle=move |_| open.update(|open| *open = !*open)>
            <summary>"As a table"</summary>
            {move || open.get().then(|| table())}
        </details>
    }
    .into_any()
}
