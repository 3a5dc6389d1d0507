//! What is wrong with a settings file.

use super::tree::Span;

/// One thing that is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) gravity: Gravity,
    /// Nowhere in particular, if there is none.
    pub(super) span: Option<Span>,
    /// The keys that lead to it.
    pub(super) setting: Option<String>,
    /// What is wrong, by itself.
    pub(super) what: String,
    /// What is said beside the mark.
    pub(super) why: String,
    pub(super) help: Option<String>,
}

/// How bad that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gravity {
    /// The file cannot be used.
    Error,
    /// It can, but perhaps is not what was meant.
    Warning,
}

impl Mistake {
    pub(super) fn at(span: &Span, what: impl Into<String>) -> Self {
        Self { span: Some(span.clone()), ..Self::somewhere(what) }
    }

    /// Of the file as a whole.
    pub(super) fn somewhere(what: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Error,
            span: None,
            setting: None,
            what: what.into(),
            why: String::new(),
            help: None,
        }
    }

    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn of(self, setting: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), ..self }
    }

    pub(super) fn warning(self) -> Self {
        Self { gravity: Gravity::Warning, ..self }
    }
}
