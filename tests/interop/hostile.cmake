# SPDX-License-Identifier: Apache-2.0
# The corpus of hostile bundles against the programs that read them, and the mutator.
add_library(hostile STATIC hostile_archive.c hostile_cases.c hostile_documents.c)
target_link_libraries(hostile PUBLIC bundle_fixture)
add_executable(hostile_corpus hostile_corpus.c)
target_link_libraries(hostile_corpus PRIVATE hostile)
add_test(NAME interop/hostile_corpus COMMAND hostile_corpus $<TARGET_FILE:kpack>)
set_tests_properties(interop/hostile_corpus PROPERTIES LABELS interop TIMEOUT 600)
kp_fail_on_sanitizer(interop/hostile_corpus)
add_executable(hostile_mutate hostile_mutate.c)
target_link_libraries(hostile_mutate PRIVATE hostile)
add_test(NAME interop/hostile_mutate COMMAND hostile_mutate 20)
set_tests_properties(interop/hostile_mutate PROPERTIES LABELS interop TIMEOUT 120)
kp_fail_on_sanitizer(interop/hostile_mutate)
