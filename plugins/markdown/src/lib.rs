//! The plugin `markdown`: Markdown to HTML, with a table of contents.
//!
//! Raw HTML in the input is escaped, not passed on: it is shown as it was written. Links and images keep only addresses
//! that are relative or start with `http`, `https` or `mailto`; others (`javascript:`) become empty.

mod render;

use hostler_guest::prelude::*;

/// The text to render.
#[data]
#[derive(Debug)]
pub struct RenderArgs {
    /// CommonMark, with tables, strikethrough and task lists.
    pub markdown: String,
}

/// The rendered text.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// A fragment, without `<html>` or `<body>`.
    pub html: String,
    /// The headings in their order.
    pub toc: Vec<Heading>,
}

/// A line of the table of contents.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Heading {
    /// 1 for `#` to 6 for `######`.
    pub level: u8,
    /// The heading without markup.
    pub text: String,
    /// The `id` of the heading in the HTML, unique in it.
    pub anchor: String,
}

/// Renders Markdown to safe HTML and lists its headings.
#[task(timeout = "30s", memory = "256 MiB")]
pub fn render(args: RenderArgs) -> Result<Rendered, Failure> {
    Ok(render::render(&args.markdown))
}

hostler_guest::plugin!("markdown", [render]);
