//! The rules of the definition, which are in CEL.

use std::sync::Arc;

use cel::{Context, Env, ExecutionError, extensions, extractors::This};
use serde_json::Value;

use super::place::{Place, Refusal};
use crate::defrag::{duration, quantity};

/// Evaluates rules.
pub(super) struct Rules {
    env: Arc<Env>,
}

impl Default for Rules {
    fn default() -> Self {
        let mut env = Env::stdlib();
        // Only fails where it is added twice.
        let _ = env.add_extension(extensions::strings);
        Self { env: Arc::new(env) }
    }
}

impl Rules {
    /// Adds what the rules refuse in this value and in everything in it.
    pub(super) fn check(&self, place: Place<'_>, found: &mut Vec<Refusal>) {
        place.each_part(&mut |part| self.check(part, found));
        let rules = place.schema.get("x-kubernetes-validations").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let text = |name: &str| rule.get(name).and_then(Value::as_str);
            let why = match self.holds(text("rule").unwrap_or_default(), place.value) {
                Ok(true) => continue,
                Ok(false) => text("message").unwrap_or("a rule of the definition is violated").to_owned(),
                // A value that it needs is refused already.
                Err(_) if !found.is_empty() => continue,
                Err(error) => format!("a rule of the definition cannot be evaluated: {error}"),
            };
            let field = match (place.path, text("fieldPath")) {
                // Of the whole object only the name is bound by a rule.
                ("", None) => "metadata.name".to_owned(),
                (path, field) => format!("{path}{}", field.unwrap_or_default()),
            };
            found.push(Refusal { field, why });
        }
    }

    /// Whether a rule holds for a value.
    fn holds(&self, rule: &str, value: &Value) -> Result<bool, String> {
        let program = self.env.compile(rule).map_err(|error| error.to_string())?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        // What the API server adds to the language, as far as these rules use it. Both are numbers here, so that they are compared.
        let functions = [
            context.add_function("duration", |text: Arc<String>| nanoseconds(&text)),
            context.add_function("quantity", |text: Arc<String>| amount(&text)),
            context.add_function("isLessThan", |This(this): This<f64>, other: f64| this < other),
            context.add_function("isGreaterThan", |This(this): This<f64>, other: f64| this > other),
        ];
        for declared in functions {
            declared.map_err(|error| error.to_string())?;
        }
        context.add_variable_from_value("self", cel::to_value(value).map_err(|error| error.to_string())?);
        match program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it is {other:?} and neither true nor false")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn nanoseconds(text: &str) -> Result<i64, ExecutionError> {
    let found = duration::parse_unsigned(text).map_err(|error| ExecutionError::function_error("duration", error))?;
    Ok(i64::try_from(found.as_nanos()).unwrap_or(i64::MAX))
}

/// An amount of anything in billionths: of so large a number, the last digits do not matter.
#[expect(clippy::cast_precision_loss, reason = "as said")]
fn amount(text: &str) -> Result<f64, ExecutionError> {
    let found = quantity::billionths(text).map_err(|error| ExecutionError::function_error("quantity", error))?;
    Ok(found as f64)
}
