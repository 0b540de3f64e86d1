//! What a hub shows that was built without the dashboard.

/// A plain page, without script or style.
pub const NOT_MADE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>Mooring</title>
<h1>This hub was built without its dashboard</h1>
<p>Everything else works: devices, back ends, the REST API on this port and the command line.</p>
<p>In the repository, <code>make run</code> makes both. By hand:</p>
<pre>export CARGO_TARGET_DIR=~/.cache/mooring/target
cargo xtask dashboard
MOORING_DASHBOARD=$CARGO_TARGET_DIR/dashboard cargo build</pre>
";
