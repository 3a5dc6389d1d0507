//! What is wrong with a file, as it is told: with the line it stands in, and no secret of it.

use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::mask::{Quote, Secrets};
use super::mistake::{Gravity, Mistake};

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    mistake: Mistake,
    place: Option<Place>,
}

/// Where it stands, and what stands there.
#[derive(Clone, Debug)]
struct Place {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    quote: Quote,
}

impl Finding {
    pub(super) fn new(mistake: Mistake, text: &str, secrets: &Secrets) -> Self {
        let place = mistake.span.as_ref().map(|span| {
            let at = span.start.min(text.len());
            let before = &text[..at];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            Place {
                line: 1 + before.matches('\n').count(),
                column: 1 + text[line_start..at].chars().count(),
                quote: secrets.quote(text, span),
            }
        });
        Self { mistake, place }
    }

    pub(crate) fn gravity(&self) -> Gravity {
        self.mistake.gravity
    }

    /// As machines read it.
    pub(crate) fn as_json(&self) -> Value {
        let Mistake { setting, what, why, help, .. } = &self.mistake;
        let place = self.place.as_ref();
        json!({
            "level": match self.gravity() { Gravity::Error => "error", Gravity::Warning => "warning" },
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "setting": setting,
            "message": what,
            "reason": Some(why).filter(|why| !why.is_empty()),
            "help": help,
        })
    }

    /// As people read it, in colour. Ends with a new line.
    pub(crate) fn as_text(&self, file: &Path) -> String {
        let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
        let level = match self.gravity() {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
        };
        let title = level.clone().primary_title(self.mistake.what.as_str());
        let title = renderer.render(&[Group::with_title(title)]);
        let content = Group::with_level(level).elements(self.quote()).elements(self.notes());
        let content = match content.is_empty() {
            true => String::new(),
            false => format!("{}\n", renderer.render(&[content])),
        };
        format!("{title}\n{}\n{content}", self.origin(file))
    }

    /// Told here and not by the renderer, which would count the columns of what is left of a line
    /// whose secrets are hidden.
    fn origin(&self, file: &Path) -> String {
        const STYLE: Style = AnsiColor::BrightBlue.on_default().bold();
        let file = file.display();
        match &self.place {
            Some(Place { line, column, .. }) => {
                let indent = line.to_string().len();
                format!("{:indent$}{STYLE}-->{STYLE:#} {file}:{line}:{column}", "")
            }
            None => format!(" {STYLE}-->{STYLE:#} {file}"),
        }
    }

    fn quote(&self) -> Option<Element<'_>> {
        let place = self.place.as_ref()?;
        let mark = AnnotationKind::Primary.span(place.quote.mark.clone());
        let mark = match self.mistake.why.is_empty() {
            true => mark,
            false => mark.label(self.mistake.why.as_str()),
        };
        let snippet = Snippet::source(place.quote.text.as_str()).line_start(place.line);
        Some(snippet.annotation(mark).into())
    }

    fn notes(&self) -> Vec<Element<'_>> {
        let why = Some(&self.mistake.why).filter(|why| self.place.is_none() && !why.is_empty());
        let why = why.map(|why| Level::NOTE.message(why.as_str()).into());
        let help = self.mistake.help.as_ref();
        let help = help.map(|help| Level::HELP.message(help.as_str()).into());
        why.into_iter().chain(help).collect()
    }
}
