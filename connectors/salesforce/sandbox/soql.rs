//! Reads the part of SOQL that clients of leads use.

use super::error::Trouble;

/// A value in a condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// Seconds since the epoch.
    Moment(i64),
    Date(String),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Like,
}

/// A condition.
#[derive(Debug, Clone)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare { field: String, is: Is, value: Literal },
    In { field: String, values: Vec<Literal>, negated: bool },
}

/// What is selected.
#[derive(Debug, Clone)]
pub enum Columns {
    Fields(Vec<String>),
    /// `count()`: only the total.
    Count,
    /// `COUNT(Id)`: one row that states the total.
    CountField,
}

/// One column of the order.
#[derive(Debug, Clone)]
pub struct Order {
    pub field: String,
    pub descending: bool,
    pub nulls_last: bool,
}

/// A query.
#[derive(Debug, Clone)]
pub struct Query {
    pub columns: Columns,
    pub object: String,
    pub condition: Option<Condition>,
    pub order: Vec<Order>,
    pub limit: Option<usize>,
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    /// Numbers, dates and moments.
    Number(String),
    Sign(&'static str),
}

/// Deepest nesting of parentheses.
const DEEPEST: usize = 32;

fn malformed(message: impl Into<String>) -> Trouble {
    Trouble::new("MALFORMED_QUERY", message)
}

fn tokens(text: &str) -> Result<Vec<Token>, Trouble> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if c.is_ascii_alphabetic() || c == '_' {
            let mut word = String::new();
            while let Some(&c) = chars.peek()
                && (c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
            {
                word.push(c);
                chars.next();
            }
            out.push(Token::Word(word));
        } else if c.is_ascii_digit() || c == '-' {
            let mut number = String::new();
            while let Some(&c) = chars.peek()
                && (c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+'))
            {
                number.push(c);
                chars.next();
            }
            out.push(Token::Number(number));
        } else if c == '\'' {
            chars.next();
            out.push(Token::Text(quoted(&mut chars)?));
        } else {
            chars.next();
            let pair = chars.peek().copied();
            let sign = match (c, pair) {
                ('!', Some('=')) | ('<', Some('>')) => "!=",
                ('<', Some('=')) => "<=",
                ('>', Some('=')) => ">=",
                ('<', _) => "<",
                ('>', _) => ">",
                ('=', _) => "=",
                ('(', _) => "(",
                (')', _) => ")",
                (',', _) => ",",
                _ => return Err(malformed(format!("line 1:0 no viable alternative at character '{c}'"))),
            };
            if sign.len() == 2 {
                chars.next();
            }
            out.push(Token::Sign(sign));
        }
    }
    Ok(out)
}

fn quoted(chars: &mut impl Iterator<Item = char>) -> Result<String, Trouble> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err(malformed("line 1:0 mismatched character '<EOF>' expecting '''")),
            Some('\'') => return Ok(text),
            Some('\\') => match chars.next() {
                Some('n' | 'N') => text.push('\n'),
                Some('r' | 'R') => text.push('\r'),
                Some('t' | 'T') => text.push('\t'),
                Some('b' | 'B') => text.push('\u{8}'),
                Some('f' | 'F') => text.push('\u{c}'),
                Some('u') => {
                    let code: String = chars.by_ref().take(4).collect();
                    let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                    text.push(c.ok_or_else(|| malformed("Illegal unicode sequence"))?);
                }
                Some(c @ ('\'' | '"' | '\\' | '_' | '%')) => text.push(c),
                _ => return Err(malformed("Invalid string literal. Illegal character sequence in string literal")),
            },
            Some(c) => text.push(c),
        }
    }
}

struct Reader {
    tokens: std::vec::IntoIter<Token>,
    next: Option<Token>,
}

/// Reads a query.
///
/// # Errors
/// `MALFORMED_QUERY`, as the vendor says it.
pub fn parse(text: &str) -> Result<Query, Trouble> {
    let mut tokens = tokens(text)?.into_iter();
    let next = tokens.next();
    let mut reader = Reader { tokens, next };
    let query = reader.query()?;
    match reader.next {
        None => Ok(query),
        Some(token) => Err(malformed(format!("unexpected token: {}", shown(&token)))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(text) | Token::Number(text) => format!("'{text}'"),
        Token::Text(_) => "a string".into(),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

impl Reader {
    fn take(&mut self) -> Option<Token> {
        std::mem::replace(&mut self.next, self.tokens.next())
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.next, Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.take();
        }
        found
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(&self.next, Some(Token::Sign(s)) if *s == sign);
        if found {
            self.take();
        }
        found
    }

    fn unexpected<T>(&self) -> Result<T, Trouble> {
        Err(malformed(
            self.next.as_ref().map_or_else(|| "unexpected token: <EOF>".to_owned(), |t| format!("unexpected token: {}", shown(t))),
        ))
    }

    fn expect(&mut self, sign: &str) -> Result<(), Trouble> {
        if self.eat(sign) { Ok(()) } else { self.unexpected() }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Trouble> {
        if self.eat_word(word) { Ok(()) } else { self.unexpected() }
    }

    fn word(&mut self) -> Result<String, Trouble> {
        match &self.next {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.take();
                Ok(word)
            }
            _ => self.unexpected(),
        }
    }

    fn number(&mut self) -> Result<usize, Trouble> {
        match &self.next {
            Some(Token::Number(number)) => {
                let number = number.parse().map_err(|_| malformed("Limit clause should be a number"))?;
                self.take();
                Ok(number)
            }
            _ => self.unexpected(),
        }
    }

    fn query(&mut self) -> Result<Query, Trouble> {
        self.expect_word("SELECT")?;
        let columns = self.columns()?;
        self.expect_word("FROM")?;
        let object = self.word()?;
        let condition = if self.eat_word("WHERE") { Some(self.condition(0)?) } else { None };
        let mut order = Vec::new();
        if self.eat_word("ORDER") {
            self.expect_word("BY")?;
            loop {
                order.push(self.order()?);
                if !self.eat(",") {
                    break;
                }
            }
        }
        let limit = if self.eat_word("LIMIT") { Some(self.number()?) } else { None };
        let offset = if self.eat_word("OFFSET") { self.number()? } else { 0 };
        if self.eat_word("ALL") {
            self.expect_word("ROWS")?;
        }
        Ok(Query { columns, object, condition, order, limit, offset })
    }

    fn columns(&mut self) -> Result<Columns, Trouble> {
        let first = self.word()?;
        if first.eq_ignore_ascii_case("count") && self.eat("(") {
            if self.eat(")") {
                return Ok(Columns::Count);
            }
            self.word()?;
            self.expect(")")?;
            return Ok(Columns::CountField);
        }
        let mut fields = vec![first];
        while self.eat(",") {
            let field = self.word()?;
            if fields.iter().any(|f| f.eq_ignore_ascii_case(&field)) {
                return Err(malformed(format!("duplicate field selected: {field}")));
            }
            fields.push(field);
        }
        Ok(Columns::Fields(fields))
    }

    fn order(&mut self) -> Result<Order, Trouble> {
        let field = self.word()?;
        let descending = if self.eat_word("DESC") {
            true
        } else {
            self.eat_word("ASC");
            false
        };
        let mut nulls_last = false;
        if self.eat_word("NULLS") {
            nulls_last = self.eat_word("LAST");
            if !nulls_last {
                self.expect_word("FIRST")?;
            }
        }
        Ok(Order { field, descending, nulls_last })
    }

    /// Conditions joined by one word; AND and OR side by side need parentheses.
    fn condition(&mut self, depth: usize) -> Result<Condition, Trouble> {
        if depth > DEEPEST {
            return Err(malformed("the query is nested too deeply"));
        }
        let first = self.simple(depth)?;
        let any = self.is_word("OR");
        let (joining, other) = if any { ("OR", "AND") } else { ("AND", "OR") };
        if !self.is_word(joining) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat_word(joining) {
            parts.push(self.simple(depth)?);
        }
        if self.is_word(other) {
            return self.unexpected();
        }
        Ok(if any { Condition::Any(parts) } else { Condition::All(parts) })
    }

    fn simple(&mut self, depth: usize) -> Result<Condition, Trouble> {
        if self.eat_word("NOT") {
            return Ok(Condition::Not(Box::new(self.simple_nested(depth)?)));
        }
        if self.eat("(") {
            let condition = self.condition(depth + 1)?;
            self.expect(")")?;
            return Ok(condition);
        }
        let field = self.word()?;
        if self.eat_word("NOT") {
            self.expect_word("IN")?;
            return Ok(Condition::In { field, values: self.list()?, negated: true });
        }
        if self.eat_word("IN") {
            return Ok(Condition::In { field, values: self.list()?, negated: false });
        }
        let is = if self.eat_word("LIKE") {
            Is::Like
        } else {
            match self.next {
                Some(Token::Sign("=")) => Is::Equal,
                Some(Token::Sign("!=")) => Is::NotEqual,
                Some(Token::Sign("<")) => Is::Less,
                Some(Token::Sign("<=")) => Is::AtMost,
                Some(Token::Sign(">")) => Is::More,
                Some(Token::Sign(">=")) => Is::AtLeast,
                _ => return self.unexpected(),
            }
        };
        if is != Is::Like {
            self.take();
        }
        Ok(Condition::Compare { field, is, value: self.literal()? })
    }

    fn simple_nested(&mut self, depth: usize) -> Result<Condition, Trouble> {
        if depth > DEEPEST {
            return Err(malformed("the query is nested too deeply"));
        }
        self.simple(depth + 1)
    }

    fn list(&mut self) -> Result<Vec<Literal>, Trouble> {
        self.expect("(")?;
        let mut values = vec![self.literal()?];
        while self.eat(",") {
            values.push(self.literal()?);
        }
        self.expect(")")?;
        Ok(values)
    }

    fn literal(&mut self) -> Result<Literal, Trouble> {
        let literal = match &self.next {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Literal::Null,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Literal::Bool(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Literal::Bool(false),
            Some(Token::Number(text)) => number_or_time(text)?,
            _ => return self.unexpected(),
        };
        self.take();
        Ok(literal)
    }
}

fn number_or_time(text: &str) -> Result<Literal, Trouble> {
    if text.contains('T') {
        let moment: jiff::Timestamp = text.parse().map_err(|_| malformed(format!("line 1:0 no viable alternative at '{text}'")))?;
        return Ok(Literal::Moment(moment.as_second()));
    }
    if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        return Ok(Literal::Date(text.to_owned()));
    }
    text.parse().map(Literal::Number).map_err(|_| malformed(format!("line 1:0 no viable alternative at '{text}'")))
}
