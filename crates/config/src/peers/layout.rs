//! The layout of a peers file: the byte ranges of its peers and values. An edit changes one range,
//! and keeps every other byte, such as comments and line endings.
//!
//! The operator may write `[[peer]]` tables or `peer = [{ ... }]`. This module need not be right
//! for every text that TOML allows: [`crate::peers::edit`] parses the result and rejects it unless
//! it has exactly the wanted peers.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The byte ranges of one peer's table and of its keys and values.
struct PeerSpan {
    /// The range of the header `[[peer]]`, or of the whole `{ ... }`.
    span: Range<usize>,
    inline: bool,
    /// Keys and values in the order of the text.
    entries: Vec<KeyValueSpan>,
}

struct KeyValueSpan {
    key: String,
    /// From the start of the key to the end of the value.
    span: Range<usize>,
    value: Range<usize>,
}

/// The text of a peers file, with its peers in the order of the text.
pub(crate) struct Layout<'a> {
    text: &'a str,
    peers: Vec<PeerSpan>,
    /// The range of the whole `[{ ... }, ...]`, if the peers are written as one array.
    array: Option<Range<usize>>,
    /// The ends of all values outside of the peers.
    other_value_ends: Vec<usize>,
}

impl<'a> Layout<'a> {
    /// Finds the peers. `None` if the text is not TOML, or has the peers in another form.
    pub(crate) fn parse(text: &'a str) -> Option<Layout<'a>> {
        let root = DeTable::parse(text).ok()?.into_inner();
        let mut layout =
            Layout { text, peers: Vec::new(), array: None, other_value_ends: Vec::new() };
        for (key, value) in &root {
            let span = value.span();
            if key.get_ref() != "peer" {
                layout.other_value_ends.push(span.end);
                continue;
            }
            for peer in value.get_ref().as_array()? {
                layout.peers.push(PeerSpan::from_value(text, peer.span(), peer.get_ref())?);
            }
            if !text.get(span.clone())?.starts_with("[[") {
                layout.array = Some(span);
            }
        }
        Some(layout)
    }

    /// The text with one more peer at the end.
    pub(crate) fn append(&self, entries: &[(&str, String)]) -> String {
        let newline = self.newline();
        let mut text = self.text.to_owned();
        let Some(array) = &self.array else {
            if !text.is_empty() && !text.ends_with('\n') {
                text += newline;
            }
            if !text.is_empty() && !text.ends_with(&newline.repeat(2)) {
                text += newline;
            }
            text += "[[peer]]";
            text += newline;
            for (key, value) in entries {
                text += &format!("{key} = {value}{newline}");
            }
            return text;
        };
        let entries: Vec<String> =
            entries.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let table = format!("{{ {} }}", entries.join(", "));
        let close = array.end - 1;
        let last = self.peers.last().map(|peer| peer.span.end);
        let separated = last.is_none_or(|last| self.find_comma(last, close).is_some());
        if text[..close].ends_with('\n') {
            text.insert_str(close, &format!("  {table},{newline}"));
        } else {
            let space = if last.is_some() { " " } else { "" };
            text.insert_str(close, &format!("{space}{table}"));
        }
        if let (Some(last), false) = (last, separated) {
            text.insert(last, ',');
        }
        text
    }

    /// The text with a peer's `key` set to `value`.
    pub(crate) fn set(&self, peer: usize, key: &str, value: &str) -> Option<String> {
        let peer_span = self.peers.get(peer)?;
        let mut text = self.text.to_owned();
        if let Some(entry) = peer_span.entries.iter().find(|entry| entry.key == key) {
            text.replace_range(entry.value.clone(), value);
            return Some(text);
        }
        let last = &peer_span.entries.last()?.span;
        if peer_span.inline {
            text.insert_str(last.end, &format!(", {key} = {value}"));
            return Some(text);
        }
        let newline = self.newline();
        let indent = &self.text[self.line_start(last.start)..last.start];
        let end = self.line_end(last.end);
        let line = if self.text[..end].ends_with('\n') {
            format!("{indent}{key} = {value}{newline}")
        } else {
            format!("{newline}{indent}{key} = {value}")
        };
        text.insert_str(end, &line);
        Some(text)
    }

    /// The text without a peer's `key`. A comment behind the value is removed, too. A comment above
    /// the key stays.
    pub(crate) fn unset(&self, peer: usize, key: &str) -> Option<String> {
        let peer_span = self.peers.get(peer)?;
        let at = peer_span.entries.iter().position(|entry| entry.key == key)?;
        if peer_span.inline {
            let spans: Vec<_> = peer_span.entries.iter().map(|entry| entry.span.clone()).collect();
            return Some(self.without(self.cut(&spans, at, peer_span.span.end - 1)));
        }
        let span = &peer_span.entries[at].span;
        Some(self.without(self.line_start(span.start)..self.line_end(span.end)))
    }

    /// The text without a peer. Comments that touch the peer's table are removed, too. If they
    /// stayed, they would seem to describe the next peer.
    pub(crate) fn remove(&self, peer: usize) -> Option<String> {
        let peer_span = self.peers.get(peer)?;
        if peer_span.inline {
            let spans: Vec<_> = self.peers.iter().map(|peer| peer.span.clone()).collect();
            let array = self.array.as_ref()?;
            let cut = self.cut(&spans, peer, array.end - 1);
            let before = peer.checked_sub(1).map_or(array.start, |before| spans[before].end);
            return Some(self.without(self.comments_above(cut.start, before)..cut.end));
        }
        let start = self.line_start(peer_span.span.start);
        let values = self.peers.iter().flat_map(|peer| &peer.entries).map(|entry| entry.value.end);
        let values = values.chain(self.other_value_ends.iter().copied());
        let before = values.filter(|&end| end <= start).max().unwrap_or(0);
        let start = self.comments_above(start, before);
        let last = peer_span.entries.last().map_or(peer_span.span.end, |entry| entry.span.end);
        let mut end = self.line_end(last);
        let below = self.text[end..].split_inclusive('\n');
        let comments: usize =
            below.take_while(|line| is_comment(line)).map(|line| line.len()).sum();
        // A comment that touches the next table belongs to the next table.
        let after = &self.text[end + comments..];
        if after.is_empty() || is_blank(after.split('\n').next().unwrap_or_default()) {
            end += comments;
        }
        let blank = self.text[end..].split_inclusive('\n').take_while(|line| is_blank(line));
        end += blank.map(str::len).sum::<usize>();
        Some(self.without(start..end))
    }

    /// The range to cut to remove the item with index `at`, and a comma beside it, from a `{ ... }`
    /// or `[ ... ]` that ends at `close`.
    fn cut(&self, items: &[Range<usize>], at: usize, close: usize) -> Range<usize> {
        let item = &items[at];
        let (mut start, mut end) = (item.start, item.end);
        let next = items.get(at + 1).map_or(close, |next| next.start);
        if let Some(comma) = self.find_comma(item.end, next) {
            end = comma + 1;
        } else if let Some(before) = at.checked_sub(1).map(|before| items[before].end)
            && let Some(comma) = self.find_comma(before, item.start)
            // A comma on a line above stays: it can end an item of several lines.
            && !self.text[comma..start].contains('\n')
        {
            start = comma;
        }
        let rest = &self.text[end..close];
        let line = rest.split('\n').next().unwrap_or_default();
        let indent = self.line_start(start);
        let alone = is_blank(&self.text[indent..start]) && line.len() < rest.len();
        if alone && (is_blank(line) || is_comment(line)) {
            (start, end) = (indent, end + line.len() + 1);
        } else if start == item.start {
            end += line.len() - line.trim_start().len();
        }
        start..end
    }

    /// The start of the comment lines that end at `start`. The search stops at the end of the line
    /// of `before`, the end of the previous value: a value of several lines can end with text that
    /// looks like a comment.
    fn comments_above(&self, mut start: usize, before: usize) -> usize {
        let floor = if before == 0 { 0 } else { self.line_end(before) };
        while start > floor && self.line_start(start) == start {
            let above = self.line_start(start - 1);
            if !is_comment(&self.text[above..start]) {
                break;
            }
            start = above;
        }
        start
    }

    fn without(&self, cut: Range<usize>) -> String {
        [&self.text[..cut.start], &self.text[cut.end..]].concat()
    }

    /// The position of the comma in a range that has only white space, comments and at most one
    /// comma.
    fn find_comma(&self, from: usize, to: usize) -> Option<usize> {
        let mut in_comment = false;
        for (offset, c) in self.text[from..to].char_indices() {
            match c {
                '\n' => in_comment = false,
                '#' => in_comment = true,
                ',' if !in_comment => return Some(from + offset),
                _ => {}
            }
        }
        None
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The position after the newline of the line of `at`, or the end of the text.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// The line ending of the first line.
    fn newline(&self) -> &'static str {
        match self.text.split_once('\n') {
            Some((first, _)) if first.ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }
}

impl PeerSpan {
    fn from_value(text: &str, span: Range<usize>, value: &DeValue<'_>) -> Option<PeerSpan> {
        let table = value.as_table()?.iter();
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let (key, start): (&toml::de::DeString<'_>, usize) = (key.get_ref(), key.span().start);
            let value = value.span();
            KeyValueSpan { key: key.to_string(), span: start..value.end, value }
        };
        let mut entries: Vec<KeyValueSpan> = table.map(entry).collect();
        entries.sort_by_key(|entry| entry.span.start);
        let inline = text.get(span.clone())?.starts_with('{');
        Some(PeerSpan { span, inline, entries })
    }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
