/* SPDX-License-Identifier: Apache-2.0 */
/* The document of an operation that takes several runs. */
#include "install/resumable.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "rotate.json"

static char folder[] = "/tmp/kpack-resumable.XXXXXX";

static void set_up(void)
{
    cr_assert(mkdtemp(folder));
}

static void tear_down(void)
{
    kp_auto_free char *path = kp_path_join(folder, NAME);
    unlink(path);
    rmdir(folder);
}

TestSuite(resumable, .init = set_up, .fini = tear_down);

Test(resumable, is_kept_until_it_ends)
{
    const struct kp_site site = {.state_folder = folder};
    struct kp_err err = KP_ERR_INIT;
    struct stat st;
    char id[4], less[3];
    kp_auto_free char *path = kp_path_join(folder, NAME);
    kp_auto_json document = json_pack("{s:s, s:i}", "id", "abc", "days", 7);
    json_t *before = NULL;
    kp_auto_json found = NULL;
    cr_assert_eq(kp_resumable_read(&before, &site, NAME, &err), 0, "%s", err.message);
    cr_expect_null(before);
    cr_assert_eq(kp_resumable_keep(&site, NAME, document, &err), 0, "%s", err.message);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(kp_resumable_read(&found, &site, NAME, &err), 0, "%s", err.message);
    cr_expect(json_equal(found, document));
    cr_expect(kp_resumable_text(found, "id", id, sizeof(id)));
    cr_expect_str_eq(id, "abc");
    cr_expect(!kp_resumable_text(found, "id", less, sizeof(less)), "cut");
    cr_expect(!kp_resumable_text(found, "days", id, sizeof(id)), "a number");
    cr_expect(!kp_resumable_text(found, "key", id, sizeof(id)), "nothing");
    cr_expect(!kp_resumable_text(NULL, "id", id, sizeof(id)), "no document");
    cr_assert_eq(kp_resumable_end(&site, NAME, &err), 0, "%s", err.message);
    cr_expect(!kp_file_exists(path));
    cr_expect_eq(kp_resumable_end(&site, NAME, &err), 0, "ended twice: %s", err.message);
}

Test(resumable, a_document_that_is_none_is_an_error)
{
    static const char *const texts[] = {"", "{", "{\"id\": 1, \"id\": 2}"};
    const struct kp_site site = {.state_folder = folder};
    kp_auto_free char *path = kp_path_join(folder, NAME);
    for (size_t i = 0; i < KP_COUNT(texts); i++) {
        struct kp_err err = KP_ERR_INIT;
        json_t *found = NULL;
        cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(texts[i]), 0600, &err), 0);
        cr_expect_eq(kp_resumable_read(&found, &site, NAME, &err), -1, "%s", texts[i]);
        cr_expect(strstr(err.message, NAME), "%s", err.message);
        cr_expect_null(found);
    }
}
