//! `--chmod`, in octal or as chmod(1) writes it.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// These bits and no others.
    Octal(u32),
    /// `u=rwX,go=rX`, clause by clause.
    Symbolic(Vec<Clause>),
}

/// One clause: who, what to do, which bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u32,
    special: u32,
    steps: Vec<(char, Bits)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bits {
    rwx: u32,
    conditional: bool,
    setid: bool,
    sticky: bool,
    copy: Option<u32>,
}

impl ModeChange {
    /// Reads `755` or `u+x,go-w`; none when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::Octal);
        }
        text.split(',').map(Clause::parse).collect::<Option<Vec<_>>>().map(Self::Symbolic)
    }

    /// The mode after the change.
    pub(crate) fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let (names, mut rest) = text.split_at(at);
        let (mut who, mut special) = (0, 0);
        for name in names.chars() {
            match name {
                'u' => (who, special) = (who | 0o700, special | 0o4000),
                'g' => (who, special) = (who | 0o070, special | 0o2000),
                'o' => who |= 0o007,
                'a' => (who, special) = (0o777, 0o6000),
                _ => return None,
            }
        }
        if names.is_empty() {
            (who, special) = (0o777, 0o6000);
        }
        let mut steps = Vec::new();
        while let Some(op) = rest.chars().next() {
            let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |i| i + 1);
            let mut bits = Bits::default();
            for c in rest[1..end].chars() {
                match c {
                    'r' => bits.rwx |= 4,
                    'w' => bits.rwx |= 2,
                    'x' => bits.rwx |= 1,
                    'X' => bits.conditional = true,
                    's' => bits.setid = true,
                    't' => bits.sticky = true,
                    'u' => bits.copy = Some(6),
                    'g' => bits.copy = Some(3),
                    'o' => bits.copy = Some(0),
                    _ => return None,
                }
            }
            steps.push((op, bits));
            rest = &rest[end..];
        }
        Some(Self { who, special, steps })
    }

    fn apply(&self, mut mode: u32, is_dir: bool) -> u32 {
        for (op, bits) in &self.steps {
            let mut rwx = bits.rwx;
            if bits.conditional && (is_dir || mode & 0o111 != 0) {
                rwx |= 1;
            }
            if let Some(shift) = bits.copy {
                rwx |= mode >> shift & 7;
            }
            let mut wanted = (rwx << 6 | rwx << 3 | rwx) & self.who;
            if bits.setid {
                wanted |= self.special;
            }
            if bits.sticky {
                wanted |= 0o1000;
            }
            mode = match op {
                '+' => mode | wanted,
                '-' => mode & !wanted,
                _ => mode & !(self.who | self.special) | wanted,
            };
        }
        mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_symbolic_changes_are_those_of_chmod() {
        for (change, mode, is_dir, after) in [
            ("755", 0o4600, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("go-w", 0o666, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("a+X", 0o644, false, 0o644),
            ("g=u", 0o640, false, 0o660),
            ("+s", 0o755, false, 0o6755),
            ("o+t", 0o755, true, 0o1755),
            ("u+x-w", 0o644, false, 0o544),
        ] {
            assert_eq!(ModeChange::parse(change).unwrap().apply(mode, is_dir), after, "{change} on {mode:o}");
        }
    }

    #[test]
    fn nonsense_is_no_change() {
        for bad in ["", "999", "10000000", "rwx", "u", "u+q", "z+x"] {
            assert_eq!(ModeChange::parse(bad), None, "{bad}");
        }
    }
}
