//! From text to instructions, with the precedence of the engine's grammar.

use super::{
    error::{Construct, RuleError, RuleErrorKind},
    eval::{self, Value},
    lex::{Lexer, Token, Word, column, comment_at_end, quote},
    power,
    program::{Binary, Instruction, Operation, Types, Variable},
};

/// The longest rule that is read, in bytes. Nobody can understand a longer one, and every rule that is read has to be
/// assessed within a millisecond.
pub const MAX_LENGTH: usize = 1024;

/// How deep brackets, signs and choices may nest.
pub const MAX_DEPTH: usize = 64;

/// Operators by how strongly they bind, weakest first, all from left to right. `**` is equal to `*`.
const LEVELS: [&[(&str, Binary)]; 10] = [
    &[("||", Binary::Or)],
    &[("&&", Binary::And)],
    &[("|", Binary::BitOr)],
    &[("^", Binary::BitXor)],
    &[("&", Binary::BitAnd)],
    &[("==", Binary::Equal), ("!=", Binary::NotEqual)],
    &[("<", Binary::Less), (">", Binary::Greater), ("<=", Binary::LessOrEqual), (">=", Binary::GreaterOrEqual)],
    &[("<<", Binary::ShiftLeft), (">>", Binary::ShiftRight)],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Remainder)],
];

/// The instructions of `text`, which is not empty.
pub(super) fn parse(text: &str) -> Result<Vec<Instruction>, RuleError> {
    if text.len() > MAX_LENGTH {
        return Err(RuleError {
            kind: RuleErrorKind::TooLarge,
            column: column(text, MAX_LENGTH),
            found: format!("a rule of {} bytes", text.len()),
            expected: format!("at most {MAX_LENGTH} bytes"),
            suggestion: Some("a rule needs one or two comparisons".to_owned()),
        });
    }
    let mut lexer = Lexer::new(text);
    let word = lexer.next()?;
    let mut parser = Parser { text, lexer, word, depth: 0, program: Vec::new(), types: Vec::new() };
    parser.choice()?;
    if parser.word.token != Token::End {
        return Err(parser.unexpected("an operator such as && or the end of the rule"));
    }
    if !parser.types.last().is_some_and(|types| types.boolean) {
        return Err(parser.type_error(0, "a number", "a comparison, which is true or false", Some(number_hint(text))));
    }
    Ok(parser.program)
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    word: Word<'a>,
    depth: usize,
    program: Vec<Instruction>,
    /// The types of the values that the instructions so far leave behind.
    types: Vec<Types>,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Word<'a>, RuleError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.word, next))
    }

    /// The mark that comes next, if one does.
    fn mark(&self) -> Option<&'static str> {
        match self.word.token {
            Token::Mark(mark) => Some(mark),
            _ => None,
        }
    }

    /// `condition ? first : second`, or what binds more strongly.
    fn choice(&mut self) -> Result<(), RuleError> {
        self.deeper()?;
        let (first, start) = (self.program.len(), self.word.start);
        self.level(0)?;
        if self.mark() == Some("?") {
            if !self.types.last().is_some_and(|types| types.boolean) {
                return Err(self.type_error(start, "a number before ?", "a comparison", None));
            }
            self.advance()?;
            self.choice()?;
            if self.mark() != Some(":") {
                return Err(self.unexpected("\":\" of the choice"));
            }
            self.advance()?;
            self.choice()?;
            let (second, first_types) = (self.pop(), self.pop());
            self.pop();
            self.push(Operation::Choose, first_types.or(second), start, first);
        }
        self.depth -= 1;
        Ok(())
    }

    /// The operators of `LEVELS[index]` and those that bind more strongly.
    fn level(&mut self, index: usize) -> Result<(), RuleError> {
        let Some(operators) = LEVELS.get(index) else {
            return self.unary();
        };
        let (first, start) = (self.program.len(), self.word.start);
        self.level(index + 1)?;
        while let Some(mark) = self.mark() {
            let Some(&(_, mut binary)) = operators.iter().find(|(text, _)| *text == mark) else {
                break;
            };
            let operator = self.advance()?;
            if binary == Binary::Multiply && self.mark() == Some("*") {
                self.advance()?;
                binary = Binary::Power;
            }
            let right = self.program.len();
            self.level(index + 1)?;
            self.combine(binary, operator, first, start, right)?;
        }
        Ok(())
    }

    fn combine(
        &mut self,
        binary: Binary,
        operator: Word<'_>,
        first: usize,
        start: usize,
        right: usize,
    ) -> Result<(), RuleError> {
        let (right_types, left_types) = (self.pop(), self.pop());
        let Some(types) = eval::result_types(binary, left_types, right_types) else {
            return Err(self.operand_error(binary, operator, left_types, right_types));
        };
        if binary == Binary::Power && !self.exponent_is_supported(right) {
            return Err(self.lexer.refused(operator.start, Construct::Power));
        }
        self.push(Operation::Binary(binary), types, start, first);
        Ok(())
    }

    /// Whether the exponent that the instructions from `right` on compute has the same powers on every machine. One that
    /// fails to evaluate fails as part of the rule too.
    fn exponent_is_supported(&self, right: usize) -> bool {
        let exponent = self.program.get(right..).unwrap_or_default();
        if exponent.iter().any(|step| matches!(step.operation, Operation::Variable(_))) {
            return false;
        }
        match eval::run(exponent, &[0.0; 5]) {
            Ok(Value::Float(value)) => power::is_supported(value),
            _ => true,
        }
    }

    fn unary(&mut self) -> Result<(), RuleError> {
        let (first, start) = (self.program.len(), self.word.start);
        let operation = match self.mark() {
            Some("-") => Operation::Negate,
            Some("!") => Operation::Not,
            Some("~") => Operation::BitNot,
            _ => return self.primary(),
        };
        self.deeper()?;
        self.advance()?;
        self.unary()?;
        self.depth -= 1;
        let operand = self.pop();
        let (fits, types) = match operation {
            Operation::Not => (operand.boolean, Types::BOOLEAN),
            Operation::BitNot => (operand.numeric(), Types::INTEGER),
            _ => (operand.numeric(), Types { boolean: false, ..operand }),
        };
        if !fits {
            let (found, expected, hint) = if operation == Operation::Not {
                ("a number after !", "a comparison after !", "put the comparison in brackets: !(dbSize > 1)")
            } else {
                ("true or false after a sign", "a number", "write ! to negate a comparison")
            };
            return Err(self.type_error(start, found, expected, Some(hint.to_owned())));
        }
        self.push(operation, types, start, first);
        Ok(())
    }

    fn primary(&mut self) -> Result<(), RuleError> {
        let (first, word) = (self.program.len(), self.word);
        match word.token {
            Token::Integer(value) => self.literal(Operation::Integer(value), Types::INTEGER)?,
            Token::Float(value) => self.literal(Operation::Float(value), Types::FLOAT)?,
            Token::Name("true") => self.literal(Operation::Boolean(true), Types::BOOLEAN)?,
            Token::Name("false") => self.literal(Operation::Boolean(false), Types::BOOLEAN)?,
            Token::Name("nil") => return Err(self.lexer.refused(word.start, Construct::Nil)),
            Token::Name(name @ ("in" | "IN")) => return Err(self.operand_expected(&quote(name))),
            Token::Name(name) => {
                self.advance()?;
                if self.mark() == Some("(") {
                    return Err(self.lexer.refused(word.start, Construct::Function));
                }
                let variable = name.parse().map_err(|()| self.unknown_variable(name, word.start))?;
                self.push(Operation::Variable(variable), Types::FLOAT, word.start, first);
                self.set_end(word.end);
            }
            Token::Mark("(") => {
                self.advance()?;
                self.choice()?;
                if self.mark() != Some(")") {
                    return Err(self.unexpected("\")\" or an operator"));
                }
                let end = self.word.end;
                self.advance()?;
                if let Some(last) = self.program.last_mut() {
                    (last.start, last.end) = (word.start, end);
                }
            }
            Token::Mark("[") => return Err(self.lexer.refused(word.start, Construct::Array)),
            Token::Mark("{") => return Err(self.lexer.refused(word.start, Construct::Object)),
            Token::Mark(mark) => return Err(self.operand_expected(&quote(mark))),
            Token::End => return Err(self.operand_expected("the end of the rule")),
        }
        match self.word.token {
            Token::Mark("[") => Err(self.lexer.refused(self.word.start, Construct::Array)),
            Token::Mark(".") => Err(self.lexer.refused(self.word.start, Construct::Field)),
            Token::Name("in" | "IN") => Err(self.lexer.refused(self.word.start, Construct::Membership)),
            _ => Ok(()),
        }
    }

    fn literal(&mut self, operation: Operation, types: Types) -> Result<(), RuleError> {
        let first = self.program.len();
        let word = self.advance()?;
        self.push(operation, types, word.start, first);
        self.set_end(word.end);
        Ok(())
    }

    /// Adds an instruction that ends where the one before it does.
    fn push(&mut self, operation: Operation, types: Types, start: usize, first: usize) {
        let end = self.program.last().map_or(start, |last| last.end);
        self.program.push(Instruction { operation, start, end, first });
        self.types.push(types);
    }

    fn set_end(&mut self, end: usize) {
        if let Some(last) = self.program.last_mut() {
            last.end = end;
        }
    }

    fn pop(&mut self) -> Types {
        self.types.pop().unwrap_or(Types::INTEGER)
    }

    fn deeper(&mut self) -> Result<(), RuleError> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(RuleError {
            kind: RuleErrorKind::TooLarge,
            column: column(self.text, self.word.start),
            found: format!("more than {MAX_DEPTH} levels of brackets and signs"),
            expected: format!("at most {MAX_DEPTH}"),
            suggestion: Some("leave out brackets that group nothing".to_owned()),
        })
    }

    fn unexpected(&self, expected: &str) -> RuleError {
        let (found, suggestion) = match self.word.token {
            Token::End => ("the end of the rule".to_owned(), self.comment_hint()),
            Token::Mark(mark) => (quote(mark), None),
            Token::Name(name) => (quote(name), name_hint(name)),
            Token::Integer(_) | Token::Float(_) => {
                (quote(self.text.get(self.word.start..self.word.end).unwrap_or_default()), None)
            }
        };
        self.syntax(found, expected, suggestion)
    }

    fn operand_expected(&self, found: &str) -> RuleError {
        let before = self.text.get(..self.word.start).unwrap_or_default().trim_end();
        let suggestion =
            before.ends_with('%').then(|| "% is the remainder of a division; write 0.8 for 80 %".to_owned());
        let suggestion = suggestion.or_else(|| self.comment_hint().filter(|_| self.word.token == Token::End));
        self.syntax(found.to_owned(), "a number, a variable or an opening bracket", suggestion)
    }

    /// What to do where a comment took the rest of the rule.
    fn comment_hint(&self) -> Option<String> {
        let at = comment_at_end(self.text)?;
        let place = column(self.text, at);
        Some(if self.text.get(at..)?.starts_with("//") {
            format!("all from // in column {place} on is a comment; leave it out, or write it as /* … */")
        } else {
            format!("all from /* in column {place} on is a comment; close it with */")
        })
    }

    fn syntax(&self, found: String, expected: &str, suggestion: Option<String>) -> RuleError {
        RuleError {
            kind: RuleErrorKind::Syntax,
            column: column(self.text, self.word.start),
            found,
            expected: expected.to_owned(),
            suggestion,
        }
    }

    fn unknown_variable(&self, name: &str, start: usize) -> RuleError {
        let nearest = Variable::ALL
            .into_iter()
            .map(|variable| {
                (strsim::damerau_levenshtein(&name.to_lowercase(), &variable.name().to_lowercase()), variable)
            })
            .filter(|(distance, _)| *distance <= 3)
            .min_by_key(|(distance, _)| *distance);
        RuleError {
            kind: RuleErrorKind::UnknownVariable,
            column: column(self.text, start),
            found: format!("the name {}", quote(name)),
            expected: "dbSize, dbSizeInUse, dbSizeFree, dbQuota or dbQuotaUsage".to_owned(),
            suggestion: nearest.map_or_else(|| name_hint(name), |(_, variable)| Some(format!("write {variable}"))),
        }
    }

    fn type_error(&self, start: usize, found: &str, expected: &str, suggestion: Option<String>) -> RuleError {
        RuleError {
            kind: RuleErrorKind::Type,
            column: column(self.text, start),
            found: found.to_owned(),
            expected: expected.to_owned(),
            suggestion,
        }
    }

    fn operand_error(&self, binary: Binary, operator: Word<'_>, left: Types, right: Types) -> RuleError {
        let sign = self.text.get(operator.start..operator.end).unwrap_or_default();
        if matches!(binary, Binary::And | Binary::Or) {
            let side = if left.boolean { "after" } else { "before" };
            let hint = format!("repeat the comparison on both sides of {sign}: dbSize > 1 {sign} dbSizeFree > 2");
            return self.type_error(operator.start, &format!("a number {side} {sign}"), "a comparison", Some(hint));
        }
        let side = if left.numeric() { "after" } else { "before" };
        let ordering = matches!(binary, Binary::Less | Binary::Greater | Binary::LessOrEqual | Binary::GreaterOrEqual);
        let hint = if ordering && right.numeric() {
            Some("comparisons do not chain; write 1 < dbSize && dbSize < 2".to_owned())
        } else if matches!(binary, Binary::BitAnd | Binary::BitOr) {
            Some(format!("write {sign}{sign} between comparisons"))
        } else {
            Some("put brackets around the arithmetic".to_owned())
        };
        self.type_error(operator.start, &format!("true or false {side} {sign}"), "a number", hint)
    }
}

fn name_hint(name: &str) -> Option<String> {
    let hint = match name.to_ascii_lowercase().as_str() {
        "and" => "write &&",
        "or" => "write ||",
        "not" => "write !",
        "k" | "ki" | "kb" | "kib" => "write *1024",
        "m" | "mi" | "mb" | "mib" => "write *1024*1024",
        "g" | "gi" | "gb" | "gib" => "write *1024*1024*1024",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn number_hint(text: &str) -> String {
    if text.contains("db") && text.len() <= 60 && !text.contains(char::is_control) {
        format!("compare it with a threshold: {} > …", text.trim())
    } else {
        "compare a variable with it, as in dbQuotaUsage > 0.8".to_owned()
    }
}
