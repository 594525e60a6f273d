//! `index.html` of a site: a log and its releases, for people. The page depends only on the log and
//! on the site's artifacts.

use std::fmt::Write as _;

use crate::export::site_artifacts::{SiteArtifacts, has_artifact};
use crate::export::snapshot::{LogSnapshot, LoggedVersion};

/// The beginning of every generated page. An export replaces only a page that begins like this.
pub(crate) const GENERATED_PREFIX: &[u8] =
    b"<!DOCTYPE html>\n<!-- Written by `unanimity log export`; what you change here is lost. -->\n";

/// The most bytes of a page. It is enough for [`MAX_RELEASES`] releases, each with the most files
/// that a release may have.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The most releases on the page. If a log has more, the newest releases are listed.
const MAX_RELEASES: usize = 1000;

const HEAD: &str = r#"<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
"#;

const STYLE: &str = "<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 86rem; margin: 2rem auto; padding: 0 1rem; }
h1, dd, code { overflow-wrap: anywhere; }
code { font-size: 0.85em; }
dt { font-weight: bold; }
dd { margin: 0 0 0.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #8886; padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; vertical-align: top; }
td { white-space: nowrap; }
td code, td small { display: inline-block; width: 21rem; white-space: normal; }
</style>
</head>
";

const TABLE: &str = r#"<div class="wide">
<table>
<thead>
<tr><th>Product</th><th>Channel</th><th>Sequence</th><th>Version</th><th>Platform</th><th>File</th><th>Bytes</th><th>SHA-256</th><th>Issued</th><th>Expires</th></tr>
</thead>
"#;

/// Renders the page of a log. An artifact has a link if it is in `served` and its release is not
/// withdrawn.
pub(crate) fn render(source: &LogSnapshot, served: &SiteArtifacts) -> String {
    let (origin, key) = (Escaped(source.log.origin.as_str()), source.log.key.to_string());
    let (size, root) = (source.head.size(), source.head.root());
    let mut page = String::from_utf8_lossy(GENERATED_PREFIX).into_owned() + HEAD;
    page += &format!("<title>{origin}: releases</title>\n{STYLE}<body>\n<h1>{origin}</h1>\n");
    page += "<p>An audit log of releases, as static files. Nothing here has to be trusted, not even this page:\n\
        <code>unanimity</code> verifies it with the publisher's keys, the log's key and the cosigned heads of its peers.</p>\n";
    page += &format!(
        "<dl>\n<dt>Log</dt><dd><code>{origin}</code></dd>\n<dt>Key</dt><dd><code>{}</code></dd>\n\
         <dt>Size</dt><dd>{size}</dd>\n<dt>Root</dt><dd><code>{root}</code></dd>\n\
         <dt>Checkpoint</dt><dd><a href=\"checkpoint\">checkpoint</a></dd>\n</dl>\n<h2>Releases</h2>\n",
        Escaped(&key)
    );
    let releases = &source.releases;
    if releases.is_empty() {
        page += "<p>There are none yet.</p>\n";
    } else {
        page += TABLE;
        for release in releases.iter().rev().take(MAX_RELEASES) {
            write_rows(&mut page, release, served);
        }
        page += "</table>\n</div>\n";
    }
    if let Some(older @ 1..) = releases.len().checked_sub(MAX_RELEASES) {
        page += &format!(
            "<p>Releases not listed, all older: {older}; <code>unanimity log show</code> has them.</p>\n"
        );
    }
    page + "</body>\n</html>\n"
}

/// Writes one row for each artifact of a release.
fn write_rows(page: &mut String, release: &LoggedVersion, served: &SiteArtifacts) {
    let manifest = &release.manifest;
    page.push_str("<tbody>\n");
    let withdrawn = match &release.withdrawn {
        Some(reason) => {
            format!("<br><small><strong>withdrawn</strong>: {}</small>", Escaped(reason))
        }
        None => String::new(),
    };
    for artifact in &manifest.artifacts {
        let (file, sha256) = (Escaped(artifact.file.as_str()), artifact.sha256);
        let digest = if release.withdrawn.is_some() {
            format!("<code>{sha256}</code>")
        } else if has_artifact(served, artifact) {
            format!(r#"<a href="artifact/{sha256}" download="{file}"><code>{sha256}</code></a>"#)
        } else {
            format!("<code>{sha256}</code> (not available here)")
        };
        // Writing to a string does not fail.
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}{withdrawn}</td><td>{}</td><td>{file}</td>\
             <td>{}</td><td>{digest}</td><td>{}</td><td>{}</td></tr>",
            Escaped(manifest.product.as_str()),
            Escaped(manifest.channel.as_str()),
            manifest.sequence,
            Escaped(manifest.version.as_str()),
            Escaped(artifact.platform.as_str()),
            artifact.length,
            manifest.issued,
            manifest.expires,
        )
        .ok();
    }
    page.push_str("</tbody>\n");
}

/// Text from the log or its key, escaped for HTML. All characters except printable ASCII are
/// escaped, too, because they could hide or reverse text.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            ' '..='~' => write!(f, "{c}"),
            _ => write!(f, "{}", c.escape_unicode()),
        })
    }
}
