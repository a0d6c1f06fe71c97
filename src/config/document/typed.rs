//! The tree as a serde data format.

use std::slice::Iter;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::Fault;
use super::node::{Entry, Kind, Node, Standing, Step};
use super::wording::one_of;

/// What a plain scalar is where any type will do: YAML 1.2 core without octal and hexadecimal.
enum Guess<'a> {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl<'a> Guess<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let padded = digits.strip_prefix('0').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
        if padded || !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Self::Text(text);
        }
        let unsigned = text.parse().ok().map(Self::Unsigned);
        unsigned
            .or_else(|| text.parse().ok().map(Self::Signed))
            .or_else(|| text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Float))
            .unwrap_or(Self::Text(text))
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            if self.is_blank() { visitor.visit_u64(0) } else { self.deserialize_any(visitor) }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.scalar() {
                Some(text) => visitor.visit_str(text),
                None if self.is_blank() => visitor.visit_str(""),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Plain(text) => match Guess::of(text) {
                Guess::Bool(value) => visitor.visit_bool(value),
                Guess::Unsigned(number) => visitor.visit_u64(number),
                Guess::Signed(number) => visitor.visit_i64(number),
                Guess::Float(number) => visitor.visit_f64(number),
                Guess::Text(text) => visitor.visit_str(text),
            },
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(elements) => visitor.visit_seq(Elements::of(elements)),
            Kind::Section(entries) => visitor.visit_map(Entries::of(entries)),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    // A bare number where text is wanted is the text that was written: `010` and `1.10` survive.
    texts! { deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier }

    forward_to_deserialize_any! { unit unit_struct }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_blank() { visitor.visit_bool(false) } else { self.deserialize_any(visitor) }
    }

    /// A key that is there and empty is a mistake, not an absent key: `roles:` with its list forgotten must not become "no
    /// roles demanded".
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_blank() {
            return visitor.visit_seq(Elements::of(&[]));
        }
        let Some(text) = self.scalar().filter(|_| self.origin.overrides()) else {
            return self.deserialize_any(visitor);
        };
        // A variable or a flag has no other way to spell a list.
        let part = |part: &str| Node::new(self.origin.clone(), Kind::Plain(part.trim().to_owned()));
        let parts: Vec<Node> = text.split(',').map(part).filter(|_| !text.is_empty()).collect();
        visitor.visit_seq(Elements::of(&parts))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_blank() {
            return visitor.visit_map(Entries::of(&[]));
        }
        if matches!(self.kind, Kind::List(_)) {
            // serde would take a list for the fields in their order.
            return Err(Fault::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    /// `deny`, or `allow: {..}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if self.is_blank() {
            return visitor.visit_enum(Choice { name: variants.first().unwrap_or(&""), content: Some(self) });
        }
        match &self.kind {
            Kind::Plain(name) | Kind::Text(name) => visitor.visit_enum(Choice { name, content: None }),
            Kind::Section(entries) => {
                let mut there = entries.iter().filter(|entry| entry.value.standing != Standing::Gone);
                match (there.next(), there.next()) {
                    (Some(Entry { key, value, .. }), None) => {
                        visitor.visit_enum(Choice { name: key, content: Some(value) })
                    }
                    _ => Err(Fault::custom(format!("a choice has one key; write {}", one_of(variants)))),
                }
            }
            Kind::Null => Err(Fault::invalid_type(Unexpected::Unit, &one_of(variants).as_str())),
            Kind::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &one_of(variants).as_str())),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

struct Elements<'a> {
    rest: std::iter::Enumerate<Iter<'a, Node>>,
}

impl<'a> Elements<'a> {
    fn of(elements: &'a [Node]) -> Self {
        Self { rest: elements.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.rest.find(|(_, node)| node.standing != Standing::Gone) else {
            return Ok(None);
        };
        seed.deserialize(node).map(Some).map_err(|fault| fault.under(Step::Index(index)))
    }
}

struct Entries<'a> {
    rest: Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'a> Entries<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        Self { rest: entries.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.current = self.rest.find(|entry| entry.value.standing != Standing::Gone);
        let Some(entry) = self.current else {
            return Ok(None);
        };
        let key = Node::new(entry.origin.clone(), Kind::Plain(entry.key.clone()));
        seed.deserialize(&key).map(Some).map_err(|fault| fault.at_key(&entry.key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.current.ok_or_else(|| Fault::custom("a value without its key"))?;
        seed.deserialize(&entry.value).map_err(|fault| fault.under(Step::Key(entry.key.clone())))
    }
}

/// One variant of an enum, and what is written under it.
struct Choice<'a> {
    name: &'a str,
    content: Option<&'a Node>,
}

impl<'a> Choice<'a> {
    /// Hands what is under the name to `read`.
    fn content<T>(self, read: impl FnOnce(&'a Node) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(node) = self.content else {
            let wanted = format!("`{}: …` with its settings", self.name);
            return Err(Fault::invalid_type(Unexpected::Str(self.name), &wanted.as_str()));
        };
        read(node).map_err(|fault| fault.under(Step::Key(self.name.to_owned())))
    }
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: serde::de::value::StrDeserializer<'_, Fault> = self.name.into_deserializer();
        match seed.deserialize(name) {
            Ok(value) => Ok((value, self)),
            Err(fault) if self.content.is_some() => Err(fault.at_key(self.name)),
            Err(fault) => Err(fault),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if self.content.is_none() { Ok(()) } else { self.content(<()>::deserialize) }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        self.content(|node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content(|node| node.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.content(|node| node.deserialize_map(visitor))
    }
}
