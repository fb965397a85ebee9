// SPDX-License-Identifier: BSD-3-Clause
//
// The files of assets/, put into the program by assets/embed.py.
#ifndef DERPER_WEB_ASSETS_H
#define DERPER_WEB_ASSETS_H

#include <stddef.h>

struct asset {
    const char *data; // not NUL-terminated
    size_t len;
};

// Has the places of the host name and of a few words marked by ASSET_HOSTNAME and ASSET_STATUS.
extern const struct asset asset_landing_html;
extern const struct asset asset_style_css;
extern const struct asset asset_favicon_svg;

#define ASSET_HOSTNAME "{{hostname}}"
#define ASSET_STATUS "{{status}}"

#endif
