// Values that a careless program may write, and documents with one of them in the wrong place.
#pragma once

#include "proto/json.h"

#include <random>
#include <string>
#include <vector>

namespace rtrain::test {

class OddJson {
 public:
  explicit OddJson(std::mt19937& random) : random_(random) {}

  /// Nested at most `depth` deep.
  proto::Json value(int depth) {
    using proto::Json;
    if (depth > 0 && random_() % 3 == 0) {
      const bool array = random_() % 2 == 0;
      Json out = array ? Json::array() : Json::object();
      for (unsigned n = random_() % 4; n > 0; --n) {
        if (array)
          out.push_back(value(depth - 1));
        else
          out[text()] = value(depth - 1);
      }
      return out;
    }
    static const std::vector<Json> kLeaves{nullptr,
                                           true,
                                           false,
                                           0,
                                           -1,
                                           1,
                                           3.7,
                                           -0.0,
                                           1e300,
                                           5e-324,
                                           4294967297,
                                           2147483648,
                                           -2147483649,
                                           9007199254740991,
                                           9007199254740993,
                                           std::int64_t{9223372036854775807},
                                           std::uint64_t{18446744073709551615u}};
    return random_() % 3 == 0 ? Json(text()) : kLeaves[random_() % kLeaves.size()];
  }

  /// Puts an odd value into one place of `document`, or takes a member away.
  void spoil(proto::Json& document) {
    if (!document.is_structured() || document.empty()) return void(document = value(2));
    auto at = document.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_() % document.size()));
    if (at->is_structured() && random_() % 3 != 0) return spoil(*at);
    if (random_() % 5 == 0)
      document.erase(at);
    else
      *at = value(2);
  }

 private:
  std::string text() {
    static const std::vector<std::string> kTexts{"",
                                                 "a",
                                                 "NaN",
                                                 "Infinity",
                                                 "nans",
                                                 "1e999",
                                                 "0",
                                                 "é",
                                                 "a.b",
                                                 "[0]",
                                                 "2026-02-30T00:00:00Z",
                                                 std::string(1, '\0'),
                                                 std::string(300, 'x'),
                                                 "in(a,b)",
                                                 "-1"};
    return kTexts[random_() % kTexts.size()];
  }

  std::mt19937& random_;
};

}  // namespace rtrain::test
