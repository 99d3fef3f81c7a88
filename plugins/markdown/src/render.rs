//! One pass over the events: headings get anchors, raw HTML becomes text, odd addresses go.

use std::collections::HashSet;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::{Heading, Rendered};

pub(crate) fn render(markdown: &str) -> Rendered {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, options).map(safe).collect();
    let toc = anchor(&mut events);
    let mut html = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut html, events.into_iter());
    Rendered { html, toc }
}

/// The same event, without what could harm a reader.
fn safe(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe_address(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: safe_address(dest_url), title, id })
        }
        other => other,
    }
}

/// Browsers skip control characters in a scheme, so an address that has any is refused as a whole.
fn safe_address(address: CowStr<'_>) -> CowStr<'_> {
    let before_path = address.split(['/', '?', '#']).next().unwrap_or_default();
    let harmless = match before_path.split_once(':') {
        None => true,
        Some((scheme, _)) => {
            ["http", "https", "mailto"].iter().any(|allowed| scheme.eq_ignore_ascii_case(allowed))
        }
    };
    if harmless && !address.contains(|c: char| c.is_control()) { address } else { CowStr::Borrowed("") }
}

/// Gives every heading an id and returns the table of contents.
fn anchor(events: &mut [Event<'_>]) -> Vec<Heading> {
    let mut toc = Vec::new();
    let mut taken = HashSet::new();
    let mut open = None;
    let mut text = String::new();
    for index in 0..events.len() {
        match &events[index] {
            Event::Start(Tag::Heading { .. }) => {
                open = Some(index);
                text.clear();
            }
            Event::Text(part) | Event::Code(part) if open.is_some() => text.push_str(part),
            Event::SoftBreak | Event::HardBreak if open.is_some() => text.push(' '),
            &Event::End(TagEnd::Heading(level)) => {
                let anchor = unique(slug(&text), &mut taken);
                let start = open.take().and_then(|start| events.get_mut(start));
                if let Some(Event::Start(Tag::Heading { id, .. })) = start {
                    *id = Some(anchor.clone().into());
                }
                toc.push(Heading { level: level as u8, text: text.trim().to_owned(), anchor });
            }
            _ => {}
        }
    }
    toc
}

/// `What's new?` is `whats-new`.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() {
            slug.extend(c.to_lowercase());
        } else if (c.is_whitespace() || c == '-' || c == '_') && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() { "section".to_owned() } else { slug }
}

/// The second `usage` is `usage-2`.
fn unique(slug: String, taken: &mut HashSet<String>) -> String {
    let mut anchor = slug.clone();
    let mut number = 2;
    while !taken.insert(anchor.clone()) {
        anchor = format!("{slug}-{number}");
        number += 1;
    }
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(markdown: &str, expected: &str) {
        assert_eq!(render(markdown).html.trim_end(), expected);
    }

    #[test]
    fn anchors_in_the_html_match_the_contents() {
        let rendered = render("# What's *new*?\n## Usage\n## Usage\n### `code` & more\n# ☃\n");
        let toc: Vec<_> =
            rendered.toc.iter().map(|h| (h.level, h.text.as_str(), h.anchor.as_str())).collect();
        assert_eq!(
            toc,
            [
                (1, "What’s new?".replace('’', "'").as_str(), "whats-new"),
                (2, "Usage", "usage"),
                (2, "Usage", "usage-2"),
                (3, "code & more", "code-more"),
                (1, "☃", "section"),
            ]
        );
        for heading in &rendered.toc {
            let opening = format!("<h{} id=\"{}\">", heading.level, heading.anchor);
            assert!(rendered.html.contains(&opening), "{opening} in {}", rendered.html);
        }
    }

    #[test]
    fn raw_html_is_escaped() {
        check("a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
    }

    #[test]
    fn only_harmless_addresses_stay() {
        check("[a](https://example.com/x:y)", "<p><a href=\"https://example.com/x:y\">a</a></p>");
        check("[a](notes/b:c.md#d)", "<p><a href=\"notes/b:c.md#d\">a</a></p>");
        check("[a](JavaScript:alert(1))", "<p><a href=\"\">a</a></p>");
        check("![a](data:text/html,x)", "<p><img src=\"\" alt=\"a\" /></p>");
        check("[a](java&#10;script:alert)", "<p><a href=\"\">a</a></p>");
    }

    #[test]
    fn tables_and_task_lists_are_understood() {
        assert!(render("|a|\n|-|\n|b|\n").html.starts_with("<table>"));
        assert!(render("- [x] done").html.contains("checkbox"));
        check("~~gone~~", "<p><del>gone</del></p>");
    }
}
