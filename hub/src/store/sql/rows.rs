//! One statement about many rows. Owns how rows are cut to what databases and their caches of statements take; knows no table.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

/// The most rows in one statement. With up to 12 values each, that is a tenth of what SQLite (32,766) takes, and beyond it the statements
/// gain nothing.
const STATEMENT_ROWS_MAX: usize = 256;

/// Executes `text` for all rows. In it, `{rows}` stands for the list of rows, each of what `values` makes of it.
pub(super) async fn execute<R, const COLUMNS: usize>(
    connection: &impl ConnectionTrait,
    text: &str,
    rows: &[R],
    values: impl Fn(&R) -> [Value; COLUMNS],
) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    for piece in pieces(rows) {
        let text = text.replace("{rows}", &places(backend, piece.len(), COLUMNS));
        let values: Vec<Value> = piece.iter().flat_map(&values).collect();
        connection.execute_raw(Statement::from_sql_and_values(backend, text, values)).await?;
    }
    Ok(())
}

/// Cuts `rows` into pieces of 256, 128, 64, … and 1. A statement so has nine texts at most, and the database prepares each of them once.
pub(super) fn pieces<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let power = rows.len().min(STATEMENT_ROWS_MAX).checked_ilog2()?;
        let (piece, rest) = rows.split_at(1 << power);
        rows = rest;
        Some(piece)
    })
}

/// `(?,?),(?,?)`, or `($1,$2),($3,$4)`. SQLite would look a numbered place up among all others.
fn places(backend: DbBackend, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            if backend == DbBackend::Postgres {
                text.push('$');
                text.push_str(&(row * columns + column + 1).to_string());
            } else {
                text.push('?');
            }
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_powers_of_two() {
        let rows: Vec<usize> = (0..600).collect();
        for count in [0, 1, 2, 3, 255, 256, 257, 600] {
            let pieces: Vec<&[usize]> = pieces(&rows[..count]).collect();
            assert!(pieces.iter().all(|piece| piece.len().is_power_of_two() && piece.len() <= STATEMENT_ROWS_MAX), "{count}");
            assert_eq!(pieces.concat(), rows[..count]);
        }
    }

    #[test]
    fn places_are_as_each_database_has_them() {
        assert_eq!(places(DbBackend::Sqlite, 2, 2), "(?,?),(?,?)");
        assert_eq!(places(DbBackend::Postgres, 2, 2), "($1,$2),($3,$4)");
    }
}
