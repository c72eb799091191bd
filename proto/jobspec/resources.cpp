#include "proto/jobspec/resources.h"

#include "common/base/number.h"
#include "proto/jobspec/scheduling_reader.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace rtrain::proto {
namespace {

constexpr std::array<std::pair<std::string_view, double>, 10> kByteUnits{{{"", 1.0},
                                                                          {"B", 1.0},
                                                                          {"kB", 1e3},
                                                                          {"MB", 1e6},
                                                                          {"GB", 1e9},
                                                                          {"TB", 1e12},
                                                                          {"KiB", 1024.0},
                                                                          {"MiB", 1048576.0},
                                                                          {"GiB", 1073741824.0},
                                                                          {"TiB", 1099511627776.0}}};

constexpr double kAmountMax = static_cast<double>(kWholeMax);

void check_name(ObjectReader& resources, const std::string& name) {
  static const std::vector<std::string> kSpecial{"CPU", "GPU", "memory"};
  if (std::find(kSpecial.begin(), kSpecial.end(), name) != kSpecial.end()) return;
  const auto same_letters = std::find_if(kSpecial.begin(), kSpecial.end(), [&](const std::string& special) {
    return special.size() == name.size() &&
           std::equal(name.begin(), name.end(), special.begin(),
                      [](char a, char b) { return std::tolower(a) == std::tolower(b); });
  });
  if (same_letters != kSpecial.end())
    resources.error(name, "unknown resource; did you mean " + *same_letters + "?");
  else if (name == "TPU")
    resources.error(name, "TPUs are not supported");
  else if (name.empty())
    resources.error(name, "a resource needs a name");
}

}  // namespace

double amount_max(std::string_view name) {
  return name == "GPU" ? 100'000 : name == "CPU" ? 1'000'000 : kAmountMax;
}

std::optional<double> parse_bytes(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  for (const auto& [name, factor] : kByteUnits)
    if (text == name && *number * factor <= kAmountMax) return std::floor(*number * factor);
  return std::nullopt;
}

constexpr std::size_t kResourceKindsMax = 64;

std::optional<Resources> read_amounts(ObjectReader& owner, const char* key) {
  auto resources = owner.object(key);
  if (!resources) return std::nullopt;
  Resources amounts;
  if (const auto kinds = resources->json().size(); kinds > kResourceKindsMax) {
    owner.error(key, "names " + std::to_string(kinds) + " resources; at most " +
                         std::to_string(kResourceKindsMax) + " can be asked for");
    return std::nullopt;
  }
  for (const auto& [name, value] : resources->json().items()) {
    check_name(*resources, name);
    double amount = 0;
    if (value.is_number()) {
      amount = value.get<double>();
    } else if (name == "memory" && value.is_string()) {
      const auto bytes = parse_bytes(value.get<std::string>());
      if (!bytes) {
        resources->error(
            name, "\"" + value.get<std::string>() + "\" is no amount of memory; write bytes or \"8GiB\"");
        continue;
      }
      amount = *bytes;
    } else {
      resources->error(name, "expected a number, found " + type_words(value));
      continue;
    }
    if (!std::isfinite(amount) || amount < 0)
      resources->error(name, "must not be negative");
    else if (amount > amount_max(name))
      resources->error(
          name, "is too much; at most " + dump_json(plain_number(amount_max(name))) + " can be asked for");
    else if (name == "GPU" && amount > 1 && amount != std::floor(amount))
      resources->error(name,
                       "a worker has whole GPUs, or a share of one: a whole number, or one between 0 and 1");
    else
      amounts[name] = amount;
  }
  return amounts;
}

void read_resources(ObjectReader& scaling, ScalingConfig& config) {
  auto amounts = read_amounts(scaling, "resources_per_worker");
  if (!amounts) return;
  const auto found = amounts->find("GPU");
  const double gpus = found == amounts->end() ? 0 : found->second;
  if (gpus > 0 && !config.use_gpu)
    scaling.error("resources_per_worker.GPU",
                  "GPUs are asked for but use_gpu is false; set scaling_config.use_gpu to true");
  if (found != amounts->end() && gpus == 0 && config.use_gpu)
    scaling.error("resources_per_worker.GPU",
                  "use_gpu is true but GPU is 0; ask for more than 0 or leave GPU out");
  config.resources_per_worker = std::move(*amounts);
}

Resources ScalingConfig::resources() const {
  Resources result = resources_per_worker.value_or(Resources{});
  if (use_gpu && !result.contains("GPU")) result["GPU"] = 1;
  // A data loader without a CPU starves its GPU: one is reserved unless the job says otherwise (Ray reserves
  // none).
  if (!result.contains("CPU") && (use_gpu || !resources_per_worker)) result["CPU"] = 1;
  std::erase_if(result, [](const auto& amount) { return amount.second == 0; });
  return result;
}

}  // namespace rtrain::proto
