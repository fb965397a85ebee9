// SPDX-License-Identifier: BSD-3-Clause

// Package interop holds tests that drive a relay with Tailscale's own client
// code. The same tests run against Tailscale's derper, built from the module
// version in go.mod: what the original fails is not a requirement.
//
// The relay under test and the helper programs are named by the environment;
// see main_test.go. The script "run" builds what is needed and runs both sides.
package interop
