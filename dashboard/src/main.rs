//! The dashboard's page.

fn main() {
    mooring_dashboard::run();
}
