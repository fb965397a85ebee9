// SPDX-License-Identifier: BSD-3-Clause
//
// An address range, or one address when `bits` is its whole length.
#ifndef DERPER_BASE_PREFIX_H
#define DERPER_BASE_PREFIX_H

#include <stdint.h>

struct prefix {
    int family;          // AF_INET or AF_INET6
    unsigned bits;       // at most 32 or 128; address bits behind them may be set and do not count
    uint8_t address[16]; // network order; IPv4 uses the first 4 bytes
};

#endif
