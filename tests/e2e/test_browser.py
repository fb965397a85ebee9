# SPDX-License-Identifier: BSD-3-Clause
"""The landing page in a real browser, which trusts the authority of the test and nobody else."""
import base64
import json
import os
import shutil
import subprocess

import pytest

import certs
from derper import DOMAIN, OURS, ROOT

ours = pytest.mark.ours

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
SCREENSHOTS = os.environ.get("ARTIFACTS_DIR") or os.path.join(ROOT, "build", "screenshots")

WIDE, PHONE = (1280, 900), (360, 740)

pytestmark = pytest.mark.skipif(
    not (os.path.exists(CHROMIUM) and os.path.exists(DRIVER)), reason="needs chromium and chromium-driver")


def trust(home, certificate, as_what="C,,"):
    """Makes the browser under this HOME trust an authority, or, with "P,,", this one certificate."""
    database = os.path.join(home, ".pki", "nssdb")
    os.makedirs(database)
    root = os.path.join(home, "root.pem")
    with open(root, "wb") as file:
        file.write(certs.pem(certificate))
    subprocess.run(["certutil", "-d", "sql:" + database, "-N", "--empty-password"], check=True)
    subprocess.run(["certutil", "-d", "sql:" + database, "-A", "-t", as_what, "-n", "test", "-i", root], check=True)


class Browser:
    def __init__(self, home):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                         "disable-background-networking", "disable-component-update", "disable-sync",
                         "disable-dev-shm-usage", "no-proxy-server", "force-device-scale-factor=1",
                         f"host-resolver-rules=MAP {DOMAIN} 127.0.0.1, MAP *.{DOMAIN} 127.0.0.1, MAP * ~NOTFOUND, "
                         "EXCLUDE 127.0.0.1",
                         f"user-data-dir={os.path.join(home, 'profile')}"):
            options.add_argument("--" + argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        env = dict(os.environ, HOME=home, XDG_CONFIG_HOME=os.path.join(home, "config"))
        self.driver = webdriver.Chrome(service=Service(DRIVER, env=env), options=options)
        self.driver.set_page_load_timeout(30)

    def command(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def show(self, url, size=WIDE, scheme="light"):
        """Loads a page; returns the requests that it made and what it wrote to the console."""
        self.command("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1,
                     mobile=size == PHONE)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(url)
        return self.requests(), self.driver.get_log("browser")

    def told(self, *methods):
        """What it has told by these methods since it was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [(m["method"], m["params"]) for m in messages if m["method"] in methods]

    def requests(self):
        return [told["request"]["url"] for _, told in self.told("Network.requestWillBeSent")]

    def security(self, url):
        """Loads a page; returns "secure" when Chromium shows it with a lock and the names in the certificate, or the
        error and nothing."""
        self.driver.get(url)
        ours = None
        for method, told in self.told("Network.requestWillBeSent", "Network.responseReceived", "Network.loadingFailed"):
            if method == "Network.requestWillBeSent" and told["request"]["url"] == url:
                ours = told["requestId"]
            elif told["requestId"] == ours and method == "Network.loadingFailed":
                return told["errorText"], []
            elif told["requestId"] == ours:
                return told["response"]["securityState"], told["response"]["securityDetails"]["sanList"]
        raise AssertionError(f"nothing was told of {url}")

    def run(self, script):
        return self.driver.execute_script("return " + script)

    def screenshot(self, name):
        os.makedirs(SCREENSHOTS, exist_ok=True)
        data = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(os.path.join(SCREENSHOTS, name + ".png"), "wb") as file:
            file.write(base64.b64decode(data))

    def quit(self):
        self.driver.quit()


@pytest.fixture(scope="module")
def relay(keeper, authority):
    return keeper("domain", authority=authority)


@pytest.fixture(scope="module")
def browser(tmp_path_factory, authority):
    home = str(tmp_path_factory.mktemp("browser"))
    trust(home, authority.certificate)
    driven = Browser(home)
    yield driven
    driven.quit()
    shutil.rmtree(home, ignore_errors=True)


def url(relay, path="/"):
    return f"https://{DOMAIN}:{relay.port}{path}"


def assert_clean(relay, requests, console):
    assert [entry for entry in console if "favicon" not in entry["message"]] == []
    assert requests and [r for r in requests if not r.startswith((url(relay), "data:"))] == []


def luminance(color):
    """Of a CSS color as the browser reports it, between 0 and 1."""
    red, green, blue = [float(part) for part in color[color.index("(") + 1:-1].split(",")[:3]]
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


# Of the page behind everything, and of its text.
BACKGROUND = """(function () {
    for (const element of [document.body, document.documentElement]) {
        const color = getComputedStyle(element).backgroundColor;
        if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches
        && getComputedStyle(document.documentElement).colorScheme.includes("dark")
        ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
})()"""
TEXT = "getComputedStyle(document.querySelector('p') || document.body).color"


def test_landing_page_is_trusted_and_asks_nobody_else(browser, relay):
    requests, console = browser.show(url(relay))
    assert_clean(relay, requests, console)
    assert browser.run("isSecureContext") is True
    assert browser.run("document.querySelector('h1') !== null")
    browser.screenshot("landing-light")


@ours
def test_landing_page_names_itself_and_its_host(browser, relay):
    browser.show(url(relay))
    assert "DERP" in browser.driver.title
    assert DOMAIN in browser.run("document.body.innerText")
    assert browser.run("document.documentElement.lang") != ""
    assert browser.run("document.compatMode") == "CSS1Compat"


@ours
@pytest.mark.parametrize("scheme, is_dark", [("light", False), ("dark", True)])
def test_landing_page_follows_the_color_scheme(browser, relay, scheme, is_dark):
    assert_clean(relay, *browser.show(url(relay), scheme=scheme))
    behind, text = luminance(browser.run(BACKGROUND)), luminance(browser.run(TEXT))
    assert (behind < 0.5) == is_dark
    assert abs(behind - text) > 0.5, "the text is hard to read"
    browser.screenshot("landing-" + scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", pytest.param("/debug/", marks=ours)])
def test_page_fits_a_phone(browser, relay, path, scheme):
    assert_clean(relay, *browser.show(url(relay, path), PHONE, scheme))
    if OURS:
        assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
        assert browser.run("innerWidth") == PHONE[0]
    browser.screenshot(f"{path.strip('/') or 'landing'}-phone-{scheme}")


def test_unknown_path_shows_the_same_page(browser, relay):
    browser.show(url(relay))
    text = browser.run("document.body.innerText")
    assert_clean(relay, *browser.show(url(relay, "/no/such/page")))
    assert browser.run("document.body.innerText") == text


def test_debug_page_has_no_broken_links(browser, relay):
    browser.show(url(relay, "/debug/"))
    links = browser.run("Array.from(document.links).map(a => a.href)")
    paths = [link[len(url(relay)) - 1:] for link in links if link.startswith(url(relay))]
    assert paths
    # The stream of traffic has no end.
    for path in [p for p in paths if "traffic" not in p and "pprof" not in p]:
        assert relay.get(path).status != 404, path
