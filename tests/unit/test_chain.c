/* SPDX-License-Identifier: Apache-2.0 */
#include "core/chain.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LINES 5

struct log {
    char folder[32];
    char *path, *text;
    size_t len;
    size_t at[LINES + 1]; /* where each line begins */
};

static void make(struct log *log)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_chain_state state;
    kp_auto(kp_chain) chain = NULL;
    *log = (struct log){.folder = "/tmp/kpack-chain-XXXXXX"};
    cr_assert_not_null(mkdtemp(log->folder));
    log->path = kp_path_join(log->folder, "log");
    cr_assert_eq(kp_chain_open(&chain, log->path, NULL, NULL, &state, &err), 0, "%s", err.message);
    for (int i = 0; i < LINES; i++) {
        kp_auto_json record = json_pack("{s:i}", "value", i);
        cr_assert_eq(kp_chain_append(chain, record, NULL, NULL, NULL, &err), 0, "%s", err.message);
    }
    cr_assert_eq(kp_file_read(log->path, 65536, &log->text, &log->len, &err), 0);
    for (int i = 1; i <= LINES; i++)
        log->at[i] = (size_t)(strchr(log->text + log->at[i - 1], '\n') - log->text) + 1;
}

static void drop(struct log *log)
{
    cr_assert_eq(kp_remove_tree(log->folder, NULL), 0);
    kp_free(log->path);
    kp_free(log->text);
}

static struct kp_chain_state look(const char *text, size_t len)
{
    struct kp_chain_state state;
    cr_assert_eq(kp_chain_parse((struct kp_slice){text, len}, NULL, NULL, NULL, &state, NULL), 0);
    return state;
}

Test(chain, a_whole_one_is_whole_and_only_ours)
{
    struct log log;
    struct stat st;
    struct kp_chain_state state;
    make(&log);
    cr_assert_eq(kp_chain_read(log.path, NULL, NULL, &state, NULL), 0);
    cr_assert_eq(state.head.count, LINES);
    cr_assert_eq(state.problem_count + state.torn, 0);
    cr_assert_eq(stat(log.path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    drop(&log);
}

/* Every byte of every line but the last: its line is the one that is named. The last line has no
 * successor: there the head tells. */
Test(chain, an_edited_line_is_named)
{
    struct log log;
    make(&log);
    struct kp_chain_state before = look(log.text, log.len);
    for (size_t line = 0; line < LINES; line++)
        for (size_t i = log.at[line]; i + 1 < log.at[line + 1]; i++) {
            log.text[i] ^= 1;
            struct kp_chain_state state = look(log.text, log.len);
            log.text[i] ^= 1;
            bool other_head = !kp_digest_equal(&state.head.digest, &before.head.digest);
            cr_assert(state.problem_count || (line + 1 == LINES && other_head), "byte %zu", i);
            if (!state.problem_count)
                continue;
            cr_assert_leq(state.problems[0].line, line + 1, "byte %zu", i);
            cr_assert_geq(state.problems[0].line, line, "byte %zu", i);
        }
    drop(&log);
}

Test(chain, lines_that_are_gone_or_added_are_named)
{
    struct log log;
    make(&log);
    for (size_t gone = 0; gone + 1 < LINES; gone++) {
        kp_auto_value(kp_buf) text = KP_BUF(65536);
        kp_buf_add(&text, log.text, log.at[gone]);
        kp_buf_add(&text, log.text + log.at[gone + 1], log.len - log.at[gone + 1]);
        struct kp_chain_state state = look(text.data, text.len);
        cr_assert_geq(state.problem_count, 1);
        cr_assert_eq(state.problems[0].line, gone + 1);
        cr_assert_not_null(strstr(state.problems[0].text, "taken out"));
    }
    kp_auto_value(kp_buf) twice = KP_BUF(65536);
    kp_buf_add(&twice, log.text, log.at[3]);
    kp_buf_add(&twice, log.text + log.at[2], log.len - log.at[2]);
    struct kp_chain_state state = look(twice.data, twice.len);
    cr_assert_eq(state.problems[0].line, 4);
    cr_assert_not_null(strstr(state.problems[0].text, "put in"));
    drop(&log);
}

/* As after kill -9 or a power cut in the middle of a write, at every byte. */
Test(chain, a_torn_line_is_no_tampering_and_is_dropped)
{
    struct log log;
    make(&log);
    for (size_t cut = log.at[LINES - 1]; cut < log.len; cut++) {
        struct kp_err err = KP_ERR_INIT;
        struct kp_chain_state state;
        kp_auto(kp_chain) chain = NULL;
        kp_auto_json record = json_pack("{s:s}", "after", "the cut");
        cr_assert_eq(kp_file_write_atomic(log.path, (struct kp_slice){log.text, cut}, 0600, &err),
                     0);
        cr_assert_eq(kp_chain_open(&chain, log.path, NULL, NULL, &state, &err), 0, "%s",
                     err.message);
        cr_assert_eq(state.problem_count, 0);
        cr_assert_eq(state.torn, cut - log.at[LINES - 1]);
        cr_assert_eq(kp_chain_append(chain, record, NULL, NULL, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(kp_chain_read(log.path, NULL, NULL, &state, &err), 0);
        cr_assert_eq(state.head.count, LINES);
        cr_assert_eq(state.problem_count + state.torn, 0);
    }
    drop(&log);
}

Test(chain, heads_as_text)
{
    struct kp_chain_head head = {.count = 57}, again;
    kp_auto_free char *text = kp_chain_head_text(&head);
    cr_assert(kp_chain_head_parse(kp_slice_of(text), &again));
    cr_assert_eq(again.count, 57);
    static const char *const bad[] = {"", "57", "57 ", "x 00", "57  ", "-1 00"};
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        cr_assert(!kp_chain_head_parse(kp_slice_of(bad[i]), &again), "%s", bad[i]);
}
