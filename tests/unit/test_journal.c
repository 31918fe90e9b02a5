/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/journal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

Test(journal, one_run_at_a_time_and_a_line_per_event)
{
    char folder[] = "/tmp/kpack-journal-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    kp_auto_free char *state = kp_path_join(folder, "demo.state");
    kp_auto_free char *path = kp_path_join(state, "journal.jsonl");
    kp_auto_free char *text = NULL;
    struct kp_err err = KP_ERR_INIT;
    {
        kp_auto(kp_journal) journal = NULL;
        kp_auto(kp_journal) second = NULL;
        cr_assert_eq(kp_journal_open(&journal, state, "run1", &err), 0, "%s", err.message);
        cr_assert_eq(kp_journal_open(&second, state, "run2", &err), -1);
        cr_assert_str_eq(err.reason, "locked");
        cr_assert_not_null(strstr(err.message, "run1"), "%s", err.message);
        kp_journal_note(journal, "phase", NULL, "mirror", NULL);
        kp_journal_note(journal, "failed", "w1", "join", "what \"it\" said");
        kp_journal_log(journal, "w1", "output\n", 7);
        cr_assert_eq(kp_journal_check(journal, &err), 0);
    }
    kp_auto(kp_journal) again = NULL;
    cr_assert_eq(kp_journal_open(&again, state, "run3", &err), 0, "%s", err.message);
    cr_assert_eq(kp_file_read(path, 4096, &text, NULL, &err), 0);
    struct kp_slice rest = kp_slice_of(text), line;
    size_t lines = 0;
    while (kp_slice_line(&rest, &line)) {
        kp_auto_json value = NULL;
        cr_assert_eq(kp_json_parse(&value, line, 4096, "line", &err), 0, "%s", err.message);
        lines++;
    }
    cr_assert_eq(lines, 2);
    struct stat st;
    cr_assert_eq(stat(state, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}
