/* SPDX-License-Identifier: Apache-2.0 */
#include "core/screen.h"

#include "core/buf.h"
#include "core/text.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROWS_MAX 4096
#define NOTE_MAX 256
#define REPAINT_S 0.1
#define BAR_WIDTH 20
#define FRAME_MAX ((size_t)1 << 20)
#define NAME_WIDTH 22

struct kp_row {
    struct kp_screen *screen;
    char *name;
    uint64_t done, total;
    char note[NOTE_MAX];
    double since;
    bool live;
};

struct kp_screen {
    pthread_mutex_t lock;
    bool live, quiet;
    struct kp_row **rows;
    size_t row_count;
    size_t painted; /* lines below the cursor's home that the last frame took */
    double last;
    uint64_t total_done, total;
    uint64_t mark_done; /* at mark_time, for a rate over the last seconds */
    double mark_time, rate;
};

struct kp_screen *kp_screen_new(enum kp_screen_mode mode)
{
    struct kp_screen *screen = kp_alloc(sizeof(*screen));
    const char *term = getenv("TERM");
    pthread_mutex_init(&screen->lock, NULL);
    screen->quiet = mode == KP_SCREEN_QUIET;
    screen->live =
        mode == KP_SCREEN_AUTO && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    return screen;
}

static void free_row(struct kp_row *row)
{
    kp_free(row->name);
    kp_free(row);
}

bool kp_screen_live(const struct kp_screen *screen)
{
    return screen->live;
}

static unsigned short terminal_size(unsigned short *columns)
{
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    *columns = size.ws_col;
    return size.ws_row;
}

static void add_bar(struct kp_buf *out, uint64_t done, uint64_t total)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double part = total ? (double)done / (double)total : 0;
    part = part > 1 ? 1 : part;
    unsigned filled = (unsigned)(part * BAR_WIDTH * 8);
    for (unsigned i = 0; i < filled / 8; i++)
        kp_buf_adds(out, "█");
    kp_buf_adds(out, eighths[filled % 8]);
    unsigned used = filled / 8 + (filled % 8 != 0);
    kp_buf_addf(out, "%*s %3.0f %%", (int)(BAR_WIDTH - used), "", part * 100);
}

static void add_row(struct kp_buf *out, const struct kp_row *row)
{
    kp_buf_addf(out, "%-*s ", NAME_WIDTH, row->name);
    if (row->note[0]) {
        kp_buf_adds(out, row->note);
        return;
    }
    kp_buf_addf(out, "%10s  ", kp_text_bytes(row->total ? row->total : row->done).s);
    if (row->total)
        add_bar(out, row->done, row->total);
    double seconds = kp_now() - row->since;
    if (seconds > 0.3)
        kp_buf_addf(out, "   %s", kp_text_rate((double)row->done / seconds).s);
}

static void add_total(struct kp_buf *out, struct kp_screen *screen)
{
    double now = kp_now();
    if (now - screen->mark_time > 1) {
        double seconds = now - screen->mark_time;
        double rate = (double)(screen->total_done - screen->mark_done) / seconds;
        screen->rate = screen->mark_time > 0 && screen->rate > 0 ? (screen->rate + rate) / 2 : rate;
        screen->mark_time = now;
        screen->mark_done = screen->total_done;
    }
    kp_buf_addf(out, "%-*s %10s  ", NAME_WIDTH, "total", kp_text_bytes(screen->total).s);
    add_bar(out, screen->total_done, screen->total);
    if (screen->rate > 0) {
        double left = (double)(screen->total - screen->total_done) / screen->rate;
        kp_buf_addf(out, "   %s   %.0f s left", kp_text_rate(screen->rate).s, left);
    }
}

static void clear_frame(struct kp_buf *out, struct kp_screen *screen)
{
    if (screen->painted)
        kp_buf_addf(out, "\033[%zuA", screen->painted);
    kp_buf_adds(out, "\r\033[J");
    screen->painted = 0;
}

// Cuts to the terminal's width: a wrapped line would break the count of lines to go up.
static void add_cut(struct kp_buf *out, const char *line, unsigned short columns)
{
    size_t used = 0;
    for (; *line && used + 1 < columns; line++) {
        kp_buf_add(out, line, 1);
        used += ((unsigned char)line[1] & 0xC0) != 0x80;
    }
    kp_buf_adds(out, "\n");
}

static void paint(struct kp_screen *screen, const char *above)
{
    kp_auto_value(kp_buf) out = KP_BUF(FRAME_MAX);
    unsigned short columns, lines = terminal_size(&columns);
    size_t room = lines > 4 ? (size_t)lines - 3 : 1, shown = 0, hidden = 0;
    clear_frame(&out, screen);
    if (above)
        kp_buf_addf(&out, "%s\n", above);
    for (size_t i = 0; i < screen->row_count; i++) {
        if (shown == room) {
            hidden++;
            continue;
        }
        kp_auto_value(kp_buf) line = KP_BUF(4096);
        add_row(&line, screen->rows[i]);
        add_cut(&out, line.data, columns);
        shown++;
    }
    if (hidden) {
        kp_buf_addf(&out, "… and %zu more\n", hidden);
        shown++;
    }
    if (screen->total) {
        kp_auto_value(kp_buf) line = KP_BUF(4096);
        add_total(&line, screen);
        add_cut(&out, line.data, columns);
        shown++;
    }
    screen->painted = shown;
    screen->last = kp_now();
    fwrite(out.data ? out.data : "", 1, out.len, stderr);
    fflush(stderr);
}

static void paint_soon(struct kp_screen *screen)
{
    if (screen->live && kp_now() - screen->last > REPAINT_S)
        paint(screen, NULL);
}

static void print_line(struct kp_screen *screen, const char *line)
{
    if (screen->quiet)
        return;
    if (screen->live)
        paint(screen, line);
    else
        fprintf(stderr, "%s\n", line);
}

void kp_screen_free(struct kp_screen *screen)
{
    if (!screen)
        return;
    if (screen->live && screen->painted) {
        kp_auto_value(kp_buf) out = KP_BUF(FRAME_MAX);
        clear_frame(&out, screen);
        fputs(out.data, stderr);
    }
    for (size_t i = 0; i < screen->row_count; i++)
        free_row(screen->rows[i]);
    kp_free(screen->rows);
    pthread_mutex_destroy(&screen->lock);
    kp_free(screen);
}

void kp_screen_line(struct kp_screen *screen, const char *fmt, ...)
{
    char line[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&screen->lock);
    print_line(screen, line);
    pthread_mutex_unlock(&screen->lock);
}

struct kp_row *kp_screen_row(struct kp_screen *screen, const char *name, uint64_t total)
{
    struct kp_row *row = kp_alloc(sizeof(*row));
    row->screen = screen;
    row->name = kp_strdup(name);
    row->total = total;
    row->since = kp_now();
    row->live = true;
    pthread_mutex_lock(&screen->lock);
    screen->rows = kp_realloc_array(screen->rows, screen->row_count + 1, sizeof(struct kp_row *));
    screen->rows[screen->row_count++] = row;
    paint_soon(screen);
    pthread_mutex_unlock(&screen->lock);
    return row;
}

static void advance(struct kp_row *row, uint64_t done)
{
    struct kp_screen *screen = row->screen;
    pthread_mutex_lock(&screen->lock);
    row->done = done;
    paint_soon(screen);
    pthread_mutex_unlock(&screen->lock);
}

void kp_row_set(struct kp_row *row, uint64_t done)
{
    advance(row, done);
}

void kp_row_add(struct kp_row *row, uint64_t bytes)
{
    advance(row, row->done + bytes);
}

void kp_row_note(struct kp_row *row, const char *fmt, ...)
{
    pthread_mutex_lock(&row->screen->lock);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(row->note, sizeof(row->note), fmt, ap);
    va_end(ap);
    paint_soon(row->screen);
    pthread_mutex_unlock(&row->screen->lock);
}

void kp_row_done(struct kp_row *row, const char *fmt, ...)
{
    struct kp_screen *screen = row->screen;
    char text[NOTE_MAX] = "", line[NOTE_MAX * 2];
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
    }
    snprintf(line, sizeof(line), "%-*s %10s  %s", NAME_WIDTH, row->name,
             kp_text_bytes(row->total ? row->total : row->done).s, text);
    pthread_mutex_lock(&screen->lock);
    size_t i = 0;
    while (i < screen->row_count && screen->rows[i] != row)
        i++;
    if (i < screen->row_count) {
        screen->row_count--;
        memmove(screen->rows + i, screen->rows + i + 1,
                (screen->row_count - i) * sizeof(struct kp_row *));
    }
    if (fmt)
        print_line(screen, line);
    pthread_mutex_unlock(&screen->lock);
    free_row(row);
}

void kp_screen_total(struct kp_screen *screen, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&screen->lock);
    if (screen->mark_time <= 0) {
        screen->mark_time = kp_now();
        screen->mark_done = done;
    }
    screen->total_done = done;
    screen->total = total;
    paint_soon(screen);
    pthread_mutex_unlock(&screen->lock);
}

static bool takes_colour(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(out)) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

const char *kp_colour_on(FILE *out, enum kp_colour colour)
{
    static const char *const codes[] = {"",         "\033[31m", "\033[32m",
                                        "\033[33m", "\033[1m",  "\033[2m"};
    return takes_colour(out) ? codes[colour] : "";
}

const char *kp_colour_off(FILE *out)
{
    return takes_colour(out) ? "\033[0m" : "";
}

struct cell {
    char *text;
    enum kp_colour colour;
};

struct kp_table {
    size_t columns, cells;
    struct cell *cell;
    size_t *width;
    bool *right;
};

static void add_cell(struct kp_table *table, enum kp_colour colour, char *text)
{
    size_t column = table->cells % table->columns, width = kp_text_width(text);
    table->cell = kp_realloc_array(table->cell, table->cells + 1, sizeof(struct cell));
    table->cell[table->cells++] = (struct cell){text, colour};
    if (width > table->width[column])
        table->width[column] = width;
}

struct kp_table *kp_table_new(size_t columns, const char *const *heads)
{
    struct kp_table *table = kp_alloc(sizeof(*table));
    table->columns = columns;
    table->width = kp_alloc_array(columns, sizeof(size_t));
    table->right = kp_alloc_array(columns, sizeof(bool));
    for (size_t i = 0; heads && i < columns; i++)
        add_cell(table, KP_BOLD, kp_strdup(heads[i]));
    return table;
}

void kp_table_free(struct kp_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->cells; i++)
        kp_free(table->cell[i].text);
    kp_free(table->cell);
    kp_free(table->width);
    kp_free(table->right);
    kp_free(table);
}

void kp_table_cell(struct kp_table *table, enum kp_colour colour, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    add_cell(table, colour, kp_strdup(text));
}

void kp_table_right(struct kp_table *table, size_t column)
{
    table->right[column] = true;
}

void kp_table_print(const struct kp_table *table, FILE *out)
{
    for (size_t i = 0; i < table->cells; i++) {
        size_t column = i % table->columns;
        bool last = column + 1 == table->columns;
        const struct cell *cell = &table->cell[i];
        int pad = (int)(table->width[column] - kp_text_width(cell->text));
        bool right = table->right[column];
        fprintf(out, "%*s%s%s%s%*s%s", right ? pad : 0, "", kp_colour_on(out, cell->colour),
                cell->text, kp_colour_off(out), right || last ? 0 : pad, "", last ? "\n" : "  ");
    }
}
