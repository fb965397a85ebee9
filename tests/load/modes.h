// SPDX-License-Identifier: BSD-3-Clause
//
// One run of each mode. Each adds what it found to the report.
#ifndef LOAD_MODES_H
#define LOAD_MODES_H

#include "options.h"
#include "report.h"

void mode_relay(const struct options *options, struct report *report);
void mode_idle(const struct options *options, struct report *report);
void mode_login(const struct options *options, struct report *report);
void mode_storm(const struct options *options, struct report *report);
void mode_stun(const struct options *options, struct report *report);
// These two do not return once they listen.
void mode_echo(const struct options *options, struct report *report);
void mode_pass(const struct options *options, struct report *report);

#endif
