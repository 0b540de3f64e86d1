//! Answers that overtake each other: of those that are on their way, only the one that was asked for last counts.

/// What has been asked for, and what has been answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    asked: u32,
    answered: u32,
}

impl Turns {
    /// Something is asked for: the number of the question.
    pub fn ask(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// An answer is here. Whether it counts: none to a later question was here before it.
    pub fn answer(&mut self, question: u32) -> bool {
        let counts = question > self.answered;
        self.answered = self.answered.max(question);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_overtaken_does_not_count() {
        let mut turns = Turns::default();
        let (first, second, third) = (turns.ask(), turns.ask(), turns.ask());
        assert!(turns.answer(second));
        assert!(!turns.answer(first), "it is from before");
        assert!(turns.answer(third));
        assert!(!turns.answer(third));
    }
}
