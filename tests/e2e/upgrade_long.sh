#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# upgrade.sh with three control planes and two minor versions.
exec "$(dirname "${BASH_SOURCE[0]}")/upgrade.sh" long
