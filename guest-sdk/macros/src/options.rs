//! The options of `#[task]`: text in, a policy as JSON out. What the author did not set is absent.

use std::collections::HashSet;
use std::fmt::{Display, Write};

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprCall, ExprLit, Lit, Result, Token};

use crate::name;
use crate::unit;

const ALL: &str =
    "retries, backoff, jitter, retry_on, timeout, cpu, memory, redeliveries, result_max, keep_input";
const RETRIES_MAX: u64 = 20;
const REDELIVERIES_MAX: u64 = 20;
const DURATION_MAX_MS: u64 = 365 * 86_400_000;
/// What a 32-bit guest can address.
const BYTES_MAX: u64 = 4 << 30;

/// One `name = value`.
struct Setting {
    name: Ident,
    value: Expr,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            return Err(Error::new_spanned(&name, format!("`{name}` needs a value: `{name} = …`")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

impl Setting {
    fn refuse(&self, allowed: impl Display) -> Error {
        refuse(&self.name, &self.value, allowed)
    }
}

/// Says which option, which value, and what is allowed.
fn refuse(option: &Ident, value: &impl ToTokens, allowed: impl Display) -> Error {
    let text = value.to_token_stream().to_string();
    Error::new_spanned(value, format!("`{option} = {text}` cannot be: allowed is {allowed}"))
}

/// Reads the attribute's options and returns the policy as a JSON object.
pub(crate) fn policy(options: TokenStream) -> Result<String> {
    let settings = Punctuated::<Setting, Token![,]>::parse_terminated.parse2(options)?;
    let mut seen = HashSet::new();
    let mut fields = String::new();
    let (mut retries, mut at_most_once) = (0, None);
    for setting in &settings {
        let option = setting.name.to_string();
        let (field, json) = match option.as_str() {
            "retries" => {
                retries = whole(setting, RETRIES_MAX)?;
                ("max_retries", retries.to_string())
            }
            "backoff" => ("backoff", backoff(setting)?),
            "jitter" => ("jitter", flag(setting)?.to_string()),
            "retry_on" => ("retry_on", codes(setting)?),
            "timeout" => ("timeout_ms", duration(&setting.name, &setting.value)?.to_string()),
            "cpu" => ("cpu_ms_max", duration(&setting.name, &setting.value)?.to_string()),
            "memory" => ("memory_bytes_max", size(setting)?.to_string()),
            "redeliveries" => {
                let redeliveries = whole(setting, REDELIVERIES_MAX)?;
                at_most_once = (redeliveries == 0).then_some(setting);
                ("redeliveries", redeliveries.to_string())
            }
            "result_max" => ("result_bytes_max", size(setting)?.to_string()),
            "keep_input" => ("keep_input", flag(setting)?.to_string()),
            _ => {
                let message = format!("there is no option `{option}`; there are: {ALL}");
                return Err(Error::new_spanned(&setting.name, message));
            }
        };
        if !seen.insert(option.clone()) {
            return Err(Error::new_spanned(&setting.name, format!("`{option}` is set twice")));
        }
        let comma = if fields.is_empty() { "" } else { "," };
        write!(fields, "{comma}\"{field}\":{json}").expect("a String takes everything");
    }
    if let (Some(setting), 1..) = (at_most_once, retries) {
        let allowed = format!(
            "1 to {REDELIVERIES_MAX} with `retries = {retries}`, since a task that never starts twice has no retries"
        );
        return Err(setting.refuse(allowed));
    }
    Ok(format!("{{{fields}}}"))
}

fn whole(setting: &Setting, max: u64) -> Result<u64> {
    let value = match literal(&setting.value) {
        Some(Lit::Int(value)) => value.base10_parse().ok(),
        _ => None,
    };
    value
        .filter(|value| *value <= max)
        .ok_or_else(|| setting.refuse(format!("a whole number from 0 to {max}")))
}

fn flag(setting: &Setting) -> Result<bool> {
    match literal(&setting.value) {
        Some(Lit::Bool(value)) => Ok(value.value),
        _ => Err(setting.refuse("`true` or `false`")),
    }
}

fn size(setting: &Setting) -> Result<u64> {
    let bytes = string(&setting.value).and_then(|text| unit::bytes(&text));
    bytes
        .filter(|bytes| (1..=BYTES_MAX).contains(bytes))
        .ok_or_else(|| setting.refuse(format!("{}, from 1 B to 4 GiB", unit::SIZE_RULE)))
}

fn duration(option: &Ident, value: &Expr) -> Result<u64> {
    let milliseconds = string(value).and_then(|text| unit::milliseconds(&text));
    milliseconds
        .filter(|milliseconds| (1..=DURATION_MAX_MS).contains(milliseconds))
        .ok_or_else(|| refuse(option, value, format!("{}, from 1ms to 365d", unit::DURATION_RULE)))
}

fn codes(setting: &Setting) -> Result<String> {
    let allowed = format!("a list of error codes such as [\"RATE_LIMITED\"], each {}", name::CODE_RULE);
    let Expr::Array(array) = &setting.value else { return Err(setting.refuse(allowed)) };
    if array.elems.is_empty() {
        return Err(setting.refuse(allowed));
    }
    let mut codes = Vec::new();
    for element in &array.elems {
        match string(element) {
            Some(code) if name::is_code(&code) => codes.push(format!("\"{code}\"")),
            _ => return Err(refuse(&setting.name, element, &allowed)),
        }
    }
    Ok(format!("[{}]", codes.join(",")))
}

fn backoff(setting: &Setting) -> Result<String> {
    let allowed = "`fixed(\"1s\", \"5s\")` or `exponential(base = \"1s\", factor = 2.0, max = \"1m\")`";
    let Expr::Call(ExprCall { func, args, .. }) = &setting.value else { return Err(setting.refuse(allowed)) };
    match func.to_token_stream().to_string().as_str() {
        "fixed" if (1..=RETRIES_MAX as usize).contains(&args.len()) => {
            let delays: Result<Vec<_>> =
                args.iter().map(|delay| Ok(duration(&setting.name, delay)?.to_string())).collect();
            Ok(format!("{{\"kind\":\"fixed\",\"delays_ms\":[{}]}}", delays?.join(",")))
        }
        "fixed" => Err(setting.refuse(format!("`fixed` with 1 to {RETRIES_MAX} delays"))),
        "exponential" => exponential(setting, args),
        _ => Err(setting.refuse(allowed)),
    }
}

fn exponential(setting: &Setting, args: &Punctuated<Expr, Token![,]>) -> Result<String> {
    let (mut base, mut factor, mut max) = (None, 2.0, None);
    for arg in args {
        let Expr::Assign(assign) = arg else {
            return Err(refuse(&setting.name, arg, "`base`, `factor` and `max`, by name"));
        };
        let option: Ident = syn::parse2(assign.left.to_token_stream())?;
        match option.to_string().as_str() {
            "base" => base = Some(duration(&option, &assign.right)?),
            "factor" => factor = growth(&option, &assign.right)?,
            "max" => max = Some(duration(&option, &assign.right)?),
            _ => return Err(refuse(&setting.name, arg, "`base`, `factor` and `max`, by name")),
        }
    }
    match (base, max) {
        (Some(base), Some(max)) if base <= max => Ok(format!(
            "{{\"kind\":\"exponential\",\"base_ms\":{base},\"factor\":{factor:?},\"max_ms\":{max}}}"
        )),
        _ => Err(setting.refuse("`exponential` with both `base` and `max`, and `base` not above `max`")),
    }
}

fn growth(option: &Ident, value: &Expr) -> Result<f64> {
    let factor: Option<f64> = match literal(value) {
        Some(Lit::Float(value)) => value.base10_parse().ok(),
        Some(Lit::Int(value)) => value.base10_parse().ok(),
        _ => None,
    };
    factor
        .filter(|factor| (1.0..=100.0).contains(factor))
        .ok_or_else(|| refuse(option, value, "a number from 1.0 to 100.0"))
}

fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        _ => None,
    }
}

fn string(value: &Expr) -> Option<String> {
    match literal(value) {
        Some(Lit::Str(text)) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
