#include "daemon/core/fair_share.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {
namespace {

constexpr double kNothing = 1e-3;  // resource-seconds

}  // namespace

void FairShare::decay(proto::UnixMs now) {
  if (as_of_ == 0 || now <= as_of_) {
    as_of_ = std::max(as_of_, now);
    return;
  }
  const double factor = std::exp2(-static_cast<double>(now - as_of_) / 1000 / half_life_s_);
  as_of_ = now;
  for (auto account = used_.begin(); account != used_.end();) {
    for (auto& [name, amount] : account->second) amount *= factor;
    std::erase_if(account->second, [](const auto& entry) { return entry.second < kNothing; });
    account = account->second.empty() ? used_.erase(account) : std::next(account);
  }
}

void FairShare::charge(const std::string& queue, const std::string& user, const proto::Resources& resources,
                       double seconds, proto::UnixMs now) {
  decay(now);
  if (seconds <= 0) return;
  auto& used = used_[{queue, user}];
  for (const auto& [name, amount] : resources) used[name] += amount * seconds;
}

double FairShare::dominant(const proto::Resources& used, const proto::Resources& totals) const {
  double share = 0;
  for (const auto& [name, amount] : used)
    if (const auto total = totals.find(name); total != totals.end() && total->second > 0)
      share = std::max(share, amount / total->second / half_life_s_);
  return share;
}

proto::Json FairShare::to_json() const {
  proto::Json accounts = proto::Json::array();
  for (const auto& [account, used] : used_)
    accounts.push_back({{"queue", account.first}, {"user", account.second}, {"used", used}});
  return {{"as_of_ms", as_of_}, {"accounts", std::move(accounts)}};
}

Result<Done> FairShare::restore(const proto::Json& document) {
  FairShare read(half_life_s_);
  const auto wrong = [] {
    return fail(Errc::kInternal, "the record of what queues and users have used cannot be read");
  };
  if (!document.is_object() || !document.contains("as_of_ms") || !document.contains("accounts") ||
      !document["accounts"].is_array())
    return wrong();
  double as_of = 0;
  if (!proto::json_number(document["as_of_ms"], as_of)) return wrong();
  read.as_of_ = static_cast<proto::UnixMs>(as_of);
  for (const auto& account : document["accounts"]) {
    if (!account.is_object() || !account.value("queue", proto::Json()).is_string() ||
        !account.value("user", proto::Json()).is_string() ||
        !account.value("used", proto::Json()).is_object())
      return wrong();
    auto& used = read.used_[{account["queue"].get<std::string>(), account["user"].get<std::string>()}];
    for (const auto& [name, value] : account["used"].items())
      if (!proto::json_number(value, used[name]) || !(used[name] >= 0)) return wrong();
  }
  *this = std::move(read);
  return ok();
}

}  // namespace rtrain::core
