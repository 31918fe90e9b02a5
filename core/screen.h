/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people see on stderr: rows that repaint in place on a terminal, a line per event elsewhere.
 * And tables that line up, on any stream. Thread-safe. NO_COLOR, --quiet and TERM=dumb are
 * honoured.
 */
#pragma once

#include "core/mem.h"

#include <stdio.h>

enum kp_screen_mode { KP_SCREEN_AUTO, KP_SCREEN_PLAIN, KP_SCREEN_QUIET };
struct kp_screen;
struct kp_screen *kp_screen_new(enum kp_screen_mode mode); /* on stderr */
void kp_screen_free(struct kp_screen *screen); /* leaves the last state on the terminal */
KP_DEFINE_AUTO(kp_screen);
bool kp_screen_live(const struct kp_screen *screen); /* repaints in place */

/* A permanent line, above the live rows. */
void kp_screen_line(struct kp_screen *screen, const char *fmt, ...) KP_PRINTF(2, 3);
/* A live row with bytes: name, size, bar, percent, rate. Rows are numbered by the caller; more rows
 * than the terminal has lines are folded into "… and n more". total 0: unknown. */
struct kp_row;
struct kp_row *kp_screen_row(struct kp_screen *screen, const char *name, uint64_t total);
void kp_row_set(struct kp_row *row, uint64_t done);
void kp_row_add(struct kp_row *row, uint64_t bytes);
void kp_row_note(struct kp_row *row, const char *fmt, ...)
    KP_PRINTF(2, 3); /* text instead of the bar */
/* Ends the row; the text stays as a permanent line ("done   sha256 ok"). NULL: the row just goes.
 */
void kp_row_done(struct kp_row *row, const char *fmt, ...) KP_PRINTF(2, 3);
/* One summary row below all others: total bytes, rate, time left. */
void kp_screen_total(struct kp_screen *screen, uint64_t done, uint64_t total);

/* Bold, red, green, yellow, dim around text where the stream is a terminal that takes colour. */
enum kp_colour { KP_PLAIN, KP_RED, KP_GREEN, KP_YELLOW, KP_BOLD, KP_DIM };
const char *kp_colour_on(FILE *out, enum kp_colour colour);
const char *kp_colour_off(FILE *out);

/* A table: cells are added row by row, columns line up by width in code points. */
struct kp_table;
struct kp_table *kp_table_new(size_t columns, const char *const *heads); /* heads NULL: none */
void kp_table_free(struct kp_table *table);
KP_DEFINE_AUTO(kp_table);
void kp_table_cell(struct kp_table *table, enum kp_colour colour, const char *fmt, ...)
    KP_PRINTF(3, 4);
void kp_table_right(struct kp_table *table, size_t column); /* aligns the column to the right */
void kp_table_print(const struct kp_table *table, FILE *out);
