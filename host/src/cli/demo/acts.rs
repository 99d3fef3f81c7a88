//! What the demo sends: tasks on the repository's own files.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::exit::Exit;
use crate::cli::output;

/// One task to send.
pub(super) struct Act {
    pub(super) task: &'static str,
    pub(super) title: String,
    pub(super) args: Value,
    /// The result, for people.
    pub(super) tells: fn(&Value) -> String,
    /// Meant to be ended by force.
    pub(super) hostile: bool,
}

/// All of them, the hostile one first.
pub(super) fn all(root: &Path) -> Result<Vec<Act>, Exit> {
    let act =
        |task, title: &str, args, tells| Act { task, title: title.to_owned(), args, tells, hostile: false };
    let mut acts = vec![Act {
        hostile: true,
        ..act("misbehave.spin", "a loop without end", json!({}), |_| String::new())
    }];
    let mut texts = Vec::new();
    for file in pages(root)? {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        texts.push((name(root, &file), text));
    }
    for (name, text) in &texts {
        acts.push(act("text.word_count", name, json!({ "text": text }), word_count));
    }
    if let Some((name, text)) = texts.first() {
        acts.push(act("markdown.render", name, json!({ "markdown": text }), rendered));
    }
    let everything: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    let title = format!("all {} pages", texts.len());
    acts.push(act("text.top_words", &title, json!({ "text": everything.join("\n"), "limit": 5 }), top_words));
    if let Some(file) = picture(root) {
        let image = STANDARD.encode(fs::read(&file).map_err(|error| unreadable(&file, &error))?);
        let args = json!({ "image_base64": image, "max_side": 160 });
        acts.push(act("image.thumbnail", &name(root, &file), args, thumbnail));
    }
    acts.push(act("flaky.fail_then_succeed", "fails twice on purpose", json!({ "failures": 2 }), |result| {
        format!("succeeded in attempt {}", result["attempt"])
    }));
    Ok(acts)
}

/// README.md and the guides.
fn pages(root: &Path) -> Result<Vec<PathBuf>, Exit> {
    let docs = root.join("docs");
    let listed = fs::read_dir(&docs).map_err(|error| unreadable(&docs, &error))?;
    let mut pages: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages.sort_unstable();
    let readme = root.join("README.md");
    if readme.is_file() {
        pages.insert(0, readme);
    }
    Ok(pages)
}

fn picture(root: &Path) -> Option<PathBuf> {
    ["docs/picture.png", "docs/picture.jpg"].iter().map(|file| root.join(file)).find(|file| file.is_file())
}

fn name(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Exit {
    Exit::infrastructure(format!("cannot read {}: {error}", path.display()))
}

fn word_count(counts: &Value) -> String {
    format!("{} words, {} lines", counts["words"], counts["lines"])
}

fn top_words(ranking: &Value) -> String {
    let ranked = ranking["words"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<String> = ranked
        .iter()
        .map(|word| format!("{} {}", word["word"].as_str().unwrap_or_default(), word["count"]))
        .collect();
    format!("{} of {} different words", words.join(", "), ranking["distinct"])
}

fn rendered(page: &Value) -> String {
    let html = page["html"].as_str().map_or(0, str::len) as u64;
    let headings = page["toc"].as_array().map_or(0, Vec::len);
    format!("{} of HTML, {headings} headings", output::size(html))
}

fn thumbnail(shrunk: &Value) -> String {
    let bytes = shrunk["image_base64"].as_str().map_or(0, |text| text.len() / 4 * 3) as u64;
    format!(
        "{}x{} out of {}x{}, {}",
        shrunk["width"],
        shrunk["height"],
        shrunk["original_width"],
        shrunk["original_height"],
        output::size(bytes)
    )
}
