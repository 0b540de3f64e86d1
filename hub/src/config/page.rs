//! docs/configuration.md, made from the table of settings.

use std::fmt::Write as _;

use super::settings::Setting;

/// The whole page.
#[must_use]
pub fn configuration_page() -> String {
    let mut page = String::from(INTRODUCTION);
    let mut section = None;
    for setting in Setting::all() {
        let (its_section, key) = setting.name.split_once('.').unwrap_or(("", &setting.name));
        if section != Some(its_section) {
            section = Some(its_section);
            let title = if its_section.is_empty() { "Without a section".to_owned() } else { format!("`[{its_section}]`") };
            let _ = write!(page, "\n## {title}\n\n| key | what it decides | form | default |\n|---|---|---|---|\n");
        }
        let default = if setting.default.is_empty() { "–".to_owned() } else { format!("`{}`", setting.default) };
        let _ = writeln!(page, "| `{key}` | {} | {} | {default} |", setting.about, setting.form);
    }
    page.push_str(CONSUMER_GROUPS);
    page.push_str(POLICIES);
    page.push_str(DEVICE_AUTHORITIES);
    page.push_str(PEOPLE);
    page.push_str(OPENID);
    page
}

const INTRODUCTION: &str = "\
# Configuration

`mooring-hub serve --config hub.toml` reads a TOML file. Each setting is also a flag and an environment variable: `limits.handshake_time`
is `--limits-handshake-time` and `MOORING_LIMITS_HANDSHAKE_TIME`. A flag wins over the environment, which wins over the file. Lists are
TOML lists in the file, and have commas between their items elsewhere. Unknown keys are refused, with their line.
`mooring-hub serve --config hub.toml --check` says what the hub would do, and does nothing.

The smallest file:

```toml
host_name = \"hub.example.com\"
data = \"/var/lib/mooring\"

[tls]
certificate = \"/etc/mooring/tls.crt\"
key = \"/etc/mooring/tls.key\"
```

This page is made from the program's own table of settings; a test keeps the two the same.
";

const CONSUMER_GROUPS: &str = "
## What counts without a restart

`events.consumer_groups`, when it is in the file: the hub looks at the file every 30 s and on SIGHUP, and takes the groups once the file has
looked the same for a second. Who reads in a group that is gone is sent away. Other settings that have changed count at the next start. A file that
the hub could not start with changes nothing; a line in the log says why, and the metric `mooring_configuration_broken` is 1. In a Pod, mount the
ConfigMap as a folder: a single file of it (`subPath`) stays as it was when the Pod began.
";

const POLICIES: &str = "
## `[policies.NAME]`

Shared access policies. The five that every hub has (`iothubowner`, `service`, `device`, `registryRead`, `registryReadWrite`) need no
section: the hub makes their keys at its first start and keeps them in `policies.json` in the data folder, which only its owner may read.
A section brings keys of your own, or a policy of your own. Only in the file.

The two files of a section are read again when they change, and on SIGHUP; a new pair counts once it has looked the same for a second, so
that nobody meets half of one. Who came in by a key that is in neither file any more is sent away: devices whose token a policy signed, who
reads events, who watches changes. A key that moves to the other slot disturbs nobody, so replace one at a time. Files that can't be used
leave the keys as they were, and a line in the log. `policies.json` is read at the start alone.

| key | what it decides | form | default |
|---|---|---|---|
| `permissions` | What the policy allows; for the five it is fixed, so leave it out. | a list, each RegistryRead, RegistryWrite, ServiceConnect or DeviceConnect | – |
| `primary_key_file` | A file with the primary key. | a path; the file holds 16 to 64 bytes in Base64 | – |
| `secondary_key_file` | A file with the secondary key. | a path; the file holds 16 to 64 bytes in Base64 | – |
";

const DEVICE_AUTHORITIES: &str = "
## `[device_authorities.NAME]`

Authorities that issue certificates to devices. A device that is registered as CA-signed comes in with a certificate whose common name
is its id and behind which one of them stands. The files are read again when they change, and on SIGHUP; a changed one counts once it has
looked the same for a second. Whoever came in by a certificate that is gone from them is sent away. A file that is gone, empty or broken
leaves its authorities as they were, and a line in the log. At most 64. Only in the file.

| key | what it decides | form | default |
|---|---|---|---|
| `file` | The authority's certificates, any of which may have signed; roots or intermediates. | a path; the file is PEM | – |
| `id_prefix` | Only devices whose id begins so are the authority's. | the beginning of a device id | every device |
";

const PEOPLE: &str = "
## `[people.NAME]`

People who sign in to the dashboard with a password ([sign-in.md](sign-in.md)). A name that is not of letters, digits, hyphens and
underscores alone is put in quotes: `[people.\"ada@example.com\"]`. Only in the file.

The file is read again when it changes, and on SIGHUP; it counts once it has looked the same for a second. Whoever was signed in with
another password is signed out. A file that can't be used leaves the password as it was, and a line in the log.

| key | what it decides | form | default |
|---|---|---|---|
| `password_hash_file` | A file with the hash of the password. Required. | a path; the file holds what `mooring-hub password-hash` prints, a PHC string of Argon2id | – |
| `rights` | What she may do. Required. | a list, each Read, Bodies, Commands, Devices or Secrets; whoever has another right has Read too | – |
";

const OPENID: &str = "
## `[openid]`

An OpenID Connect issuer whose word is taken on people ([sign-in.md](sign-in.md#openid-connect)). Only in the file. There the hub is a client
with the redirect URI `https://HOST:8443/api/v1/session/openid/back`, for each name and port that people open the dashboard by.

| key | what it decides | form | default |
|---|---|---|---|
| `issuer` | The issuer, as it says it itself. Required. | a URL with https | – |
| `client_id` | What this hub is called there. Required. | text | – |
| `client_secret_file` | A file with the hub's secret there; it is read whenever somebody signs in. | a path | no secret |
| `scopes` | What is asked for beside `openid`. | a list | `[\"email\", \"profile\"]` |
| `name_claim` | The claim that people are called by; `email` only together with a true `email_verified`. | text | `email` |
| `groups_claim` | The claim with people's groups: a text, or a list of texts. | text | `groups` |
| `authority_file` | Who may vouch for the issuer's certificate. | a path of a PEM file | whoever the machine trusts |
| `groups` | What each group may do. Required. Whoever is in none of them is not let in. | a table, such as `groups = { operators = [\"Read\", \"Devices\"] }` | – |
";

#[cfg(test)]
mod tests {
    use std::{env, fs};

    #[test]
    fn the_page_in_docs_is_the_one_made_from_the_settings() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = super::configuration_page();
        if env::var_os("MOORING_WRITE_DOCS").is_some() {
            fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
            fs::write(path, &page).unwrap();
        }
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/configuration.md is out of date: run this test once with MOORING_WRITE_DOCS=1");
    }
}
