#include "daemon/head/net/admission.h"

#include "tests/support/catch.h"

namespace admission_test {

using namespace rtrain;
using head::Admission;

TEST_CASE("admission: over TCP the token alone lets in", "[F21][F45]") {
  const Admission admission{"0123456789abcdef", 1000, 50};
  CHECK(admission.admits(std::nullopt, "0123456789abcdef"));
  for (const char* shown : {"", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"})
    CHECK_FALSE(admission.admits(std::nullopt, shown));
}

TEST_CASE("admission: on a Unix socket the owner and root need no token, others do", "[F21][F45]") {
  const Admission admission{"0123456789abcdef", 1000, std::nullopt};
  CHECK(admission.admits(net::PeerUser{1000, {1000}}, ""));
  CHECK(admission.admits(net::PeerUser{0, {0}}, ""));
  CHECK_FALSE(admission.admits(net::PeerUser{1001, {1000, 0}}, ""));
  CHECK(admission.admits(net::PeerUser{1001, {1001}}, "0123456789abcdef"));
}

TEST_CASE("admission: members of the group need no token", "[F21]") {
  const Admission admission{"", 1000, 50};
  CHECK(admission.admits(net::PeerUser{1001, {7, 50, 1001}}, ""));
  CHECK_FALSE(admission.admits(net::PeerUser{1001, {7, 1001}}, ""));
}

TEST_CASE("admission: without a token nobody gets in over TCP", "[F21][F45]") {
  CHECK_FALSE(Admission{"", 1000, std::nullopt}.admits(std::nullopt, ""));
}

}  // namespace admission_test
