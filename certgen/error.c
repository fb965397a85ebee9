// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/error.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

bool cert_fail(char *error, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

const char *cert_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason ? reason : "no reason given";
}
