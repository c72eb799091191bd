#include "common/base/crc32c.h"

#include "tests/support/catch.h"

#include <string>

namespace crc32c_test {

using namespace rtrain;

namespace {

std::uint32_t crc_of(std::string_view bytes) {
  Crc32c crc;
  crc.add(bytes);
  return crc.value();
}

}  // namespace

TEST_CASE("crc32c: the values of RFC 3720", "[unit][common]") {
  CHECK(crc_of("") == 0);
  CHECK(crc_of("123456789") == 0xE3069283);
  CHECK(crc_of(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc_of(std::string(32, '\xff')) == 0x62A8AB43);
}

TEST_CASE("crc32c: pieces give the value of the whole, and a changed bit another one", "[unit][common]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const auto whole = crc_of(text);
  for (const std::size_t cut : {0u, 1u, 3u, 8u, 500u, 999u, 1000u}) {
    Crc32c crc;
    crc.add(std::string_view(text).substr(0, cut));
    crc.add(std::string_view(text).substr(cut));
    CHECK(crc.value() == whole);
  }
  text[501] = static_cast<char>(text[501] ^ 4);
  CHECK(crc_of(text) != whole);
}

TEST_CASE("crc32c: pieces that several readers have, in any order", "[unit][common]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const auto add = [&](Crc32cPieces& to, std::size_t at, std::size_t size) {
    to.add(crc_of(std::string_view(text).substr(at, size)), at, size);
  };
  Crc32cPieces one(text.size()), other(text.size());
  add(one, 700, 300);
  add(other, 8, 1);
  add(one, 0, 8);
  add(other, 9, 691);
  add(other, 40, 0);
  CHECK(one.added() == 308);
  CHECK(one.value() != crc_of(text));
  one.join(other.state());
  CHECK(one.added() == text.size());
  CHECK(one.value() == crc_of(text));
  CHECK(Crc32cPieces(0).value() == crc_of(""));
  // A file of many gigabytes.
  const std::uint64_t far = std::uint64_t{1} << 35;
  Crc32cPieces zeros(far);
  zeros.add(crc_of(std::string(16, '\0')), far - 16, 16);
  const auto sparse = zeros.value();
  Crc32cPieces halves(far);
  halves.add(crc_of(std::string(8, '\0')), 0, 8);
  CHECK(halves.value() == sparse);  // zeros add nothing, wherever they are
}

}  // namespace crc32c_test
