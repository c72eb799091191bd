// What each user of each queue has used of late. Pure.
#pragma once

#include "proto/event/event.h"

#include <map>
#include <string>
#include <utility>

namespace rtrain::core {

/// Resource-seconds that lose half of their weight every half-life. A value.
class FairShare {
 public:
  explicit FairShare(double half_life_s = 7 * 86'400.0) : half_life_s_(half_life_s) {}

  /// `seconds` of `resources` more. What was used before decays up to `now` first; a clock that goes back
  /// decays nothing.
  void charge(const std::string& queue, const std::string& user, const proto::Resources& resources,
              double seconds, proto::UnixMs now);
  /// Lets everything decay up to `now`; what is next to nothing is forgotten.
  void decay(proto::UnixMs now);

  /// As of the last charge() or decay(), by queue and user.
  [[nodiscard]] const std::map<std::pair<std::string, std::string>, proto::Resources>& used() const {
    return used_;
  }
  [[nodiscard]] proto::UnixMs as_of() const { return as_of_; }
  /// Takes what to_json() of another one told.
  [[nodiscard]] proto::Json to_json() const;
  [[nodiscard]] Result<Done> restore(const proto::Json& document);

  /// The largest share of any resource: `used` against half-lives of `totals`.
  [[nodiscard]] double dominant(const proto::Resources& used, const proto::Resources& totals) const;

 private:
  double half_life_s_;
  proto::UnixMs as_of_ = 0;
  std::map<std::pair<std::string, std::string>, proto::Resources> used_;
};

}  // namespace rtrain::core
