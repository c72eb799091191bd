#pragma once

#include <string_view>

namespace rtrain::agent {

/// Takes as long for a guess that is nearly right as for one that is all wrong.
[[nodiscard]] inline bool same_secret(std::string_view guess, std::string_view secret) {
  unsigned difference = guess.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < guess.size() && i < secret.size(); ++i)
    difference |= static_cast<unsigned char>(guess[i] ^ secret[i]);
  return difference == 0;
}

}  // namespace rtrain::agent
