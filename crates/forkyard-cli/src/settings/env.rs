//! Variables for the workers' environment, also by the name of an environment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::Args;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Variables, in the order in which they are set.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Env {
    /// A variable for the workers' environment (may be repeated)
    #[arg(long = "env", value_name = "K=V")]
    pub(crate) variables: Vec<Variable>,

    /// What is set besides, or otherwise, in the environment of that name.
    #[arg(skip)]
    pub(crate) environments: BTreeMap<String, Vec<Variable>>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Env {
    /// What is set in the environment of that name, in the order of rank.
    pub(crate) fn of(&self, environment: Option<&str>) -> impl Iterator<Item = &Variable> {
        let named = environment.and_then(|name| self.environments.get(name));
        self.variables.iter().chain(named.into_iter().flatten())
    }
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if is_name(name) && !value.contains('\0') => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as NAME=VALUE".into()),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

impl Serialize for Env {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // What is set twice has the later value.
        for (name, value) in by_name(&self.variables) {
            map.serialize_entry(name, value)?;
        }
        for (environment, variables) in &self.environments {
            map.serialize_entry(environment, &by_name(variables))?;
        }
        map.end()
    }
}

fn by_name(variables: &[Variable]) -> BTreeMap<&str, &str> {
    variables.iter().map(|variable| (&*variable.name, &*variable.value)).collect()
}

impl<'de> Deserialize<'de> for Env {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvVisitor)
    }
}

struct EnvVisitor;

impl<'de> Visitor<'de> for EnvVisitor {
    type Value = Env;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of variables, or of tables of them by environment")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Env, A::Error> {
        let mut env = Env::default();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value::<Entry>()? {
                Entry::Value(value) => env.variables.push(variable(name, value)?),
                Entry::Environment(variables) => {
                    env.environments.insert(name, variables);
                }
            }
        }
        Ok(env)
    }
}

fn variable<E: Error>(name: String, value: String) -> Result<Variable, E> {
    if !is_name(&name) {
        return Err(E::custom(format!("`{name}` is no name for a variable")));
    }
    if value.contains('\0') {
        return Err(E::custom(format!("the value of `{name}` has a zero byte in it")));
    }
    Ok(Variable { name, value })
}

/// What may stand behind a name.
enum Entry {
    Value(String),
    Environment(Vec<Variable>),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variable's value (text, a number, true or false), or a table of variables")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry::Value(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Entry, E> {
        Ok(Entry::Value(value.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Entry, E> {
        Ok(Entry::Value(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Entry, E> {
        Ok(Entry::Value(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Entry, E> {
        Ok(Entry::Value(number.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut variables = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value::<Entry>()? {
                Entry::Value(value) => variables.push(variable(name, value)?),
                Entry::Environment(_) => {
                    return Err(A::Error::custom(format!(
                        "`{name}` is a table in an environment's table; write a value"
                    )));
                }
            }
        }
        Ok(Entry::Environment(variables))
    }
}

impl JsonSchema for Env {
    fn schema_name() -> Cow<'static, str> {
        "Env".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let value = json_schema!({ "type": ["string", "number", "boolean"] });
        json_schema!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [value, { "type": "object", "additionalProperties": value }]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_need_a_name() {
        let variable = "A=b=c".parse::<Variable>().unwrap();
        assert_eq!((&*variable.name, &*variable.value), ("A", "b=c"));
        assert!("A".parse::<Variable>().is_err());
        assert!("=b".parse::<Variable>().is_err());
    }

    #[test]
    fn an_environment_outranks_what_holds_in_all() {
        let text = r#"{"PORT": 3000, "DEBUG": true, "production": {"PORT": 80}}"#;
        let env: Env = serde_json::from_str(text).unwrap();
        let port = |environment| {
            env.of(environment)
                .filter(|variable| variable.name == "PORT")
                .last()
                .unwrap()
                .value
                .clone()
        };
        assert_eq!(port(None), "3000");
        assert_eq!(port(Some("production")), "80");
        assert_eq!(port(Some("staging")), "3000");
        let again: Env = serde_json::from_str(&serde_json::to_string(&env).unwrap()).unwrap();
        assert_eq!(again.of(Some("production")).count(), 3);
    }

    #[test]
    fn what_is_no_variable_is_told() {
        for (text, words) in [
            (r#"{"A": [1]}"#, "a variable's value"),
            (r#"{"p": {"A": {"B": "c"}}}"#, "a table in an environment's table"),
            (r#"{"": "b"}"#, "no name"),
            (r#"["A"]"#, "a table of variables"),
        ] {
            let error = serde_json::from_str::<Env>(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
