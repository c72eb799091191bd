// rtrain checkpoint diff: which tensors of two checkpoints differ, and how far.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/text.h"
#include "common/base/number.h"
#include "proto/tensors/compare.h"

namespace rtrain::cli {
namespace {

using proto::Json;
using tensors::Tensor;

/// The weights under their own names. Of two checkpoints of one kind the rest, too:
/// "optimizer.safetensors:..".
Result<std::map<std::string, Tensor>> named(const CheckpointFiles& checkpoint, bool with_rest) {
  std::map<std::string, Tensor> all;
  std::vector<Tensor> read;
  for (const auto& group : checkpoint.groups) {
    if (!group.weights && !with_rest) continue;
    // A file of torch.save has another name in the other checkpoint.
    const auto prefix = group.weights ? "" : checkpoint.is_folder ? group.file + ":" : "rest:";
    for (const auto& tensor : group.tensors) {
      all.emplace(prefix + tensor.name, tensor);
      read.push_back(tensor);
    }
  }
  if (auto bounded = tensors::check_cost(read); !bounded) return bounded.error();
  return all;
}

std::string words(const Tensor& tensor) {
  return std::string(tensor.dtype->name) + " " + tensors::shape_text(tensor.shape);
}

Json only(const std::string& name, const char* side, const Tensor& tensor) {
  return {{"name", name}, {"what", std::string("only in ") + side}, {side, words(tensor)}};
}

/// Null: they are the same.
Result<Json> difference(const std::string& name, const Tensor& a, const Tensor& b,
                        const tensors::Tolerance& tolerance) {
  Json entry{{"name", name}, {"a", words(a)}, {"b", words(b)}};
  if (a.shape != b.shape) {
    entry["what"] = "shape";
    return entry;
  }
  const auto distance = tensors::compare(a, b, tolerance);
  if (!distance) return distance.error();
  if (a.dtype == b.dtype && distance->differing == 0) return Json();
  entry["what"] = a.dtype == b.dtype ? "numbers" : "dtype";
  entry["differing"] = distance->differing;
  entry["elements"] = a.elements();
  entry["max_abs"] = distance->max_abs;
  entry["max_rel"] = distance->max_rel;
  return entry;
}

Result<tensors::Tolerance> tolerance_of(const Call& call) {
  tensors::Tolerance tolerance;
  for (const auto& [name, value] : {std::pair{"rtol", &tolerance.rtol}, std::pair{"atol", &tolerance.atol}}) {
    const auto given = call.args.text(name);
    if (!given) continue;
    const auto number = finite_number(*given);
    if (!number || *number < 0)
      return fail(Errc::kInvalidArgument, std::string("--") + name + " '" + *given +
                                              "': must be a number that is not negative, such as 1e-5");
    *value = *number;
  }
  return tolerance;
}

struct Outcome {
  Json differences = Json::array();
  std::size_t same = 0;
};

Result<Outcome> differences(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b,
                            const tensors::Tolerance& tolerance) {
  Outcome outcome;
  for (const auto& [name, tensor] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      outcome.differences.push_back(only(name, "a", tensor));
      continue;
    }
    auto entry = difference(name, tensor, other->second, tolerance);
    if (!entry) return entry.error();
    if (entry->is_null())
      ++outcome.same;
    else
      outcome.differences.push_back(std::move(*entry));
  }
  for (const auto& [name, tensor] : b)
    if (!a.contains(name)) outcome.differences.push_back(only(name, "b", tensor));
  return outcome;
}

void print(const Call& call, const Outcome& outcome, bool with_rest) {
  const auto text = [](const Json& entry, const char* key) { return entry.value(key, std::string("-")); };
  const auto figure = [](const Json& entry, const char* key) {
    return entry.contains(key) ? number(entry[key].get<double>()) : std::string("-");
  };
  Table table({"TENSOR", "WHAT", "A", "B", ">DIFFERING", ">MAX ABS", ">MAX REL"});
  for (const auto& entry : outcome.differences)
    table.add({text(entry, "name"), text(entry, "what"), text(entry, "a"), text(entry, "b"),
               entry.contains("differing")
                   ? proto::dump_json(entry["differing"]) + " of " + proto::dump_json(entry["elements"])
                   : "-",
               figure(entry, "max_abs"), figure(entry, "max_rel")});
  if (!table.empty()) call.console.print(table);
  const auto count = outcome.differences.size();
  call.console.note(std::to_string(outcome.same) + " tensors are the same, " + std::to_string(count) +
                    (count == 1 ? " differs" : " differ") +
                    (with_rest ? "" : "; of checkpoints of two kinds only the weights are compared"));
}

}  // namespace

Result<int> diff_checkpoints(const Call& call, const std::string& path_a, const std::string& path_b) {
  const auto tolerance = tolerance_of(call);
  if (!tolerance) return tolerance.error();
  auto a = open_checkpoint(path_a);
  if (!a) return a.error();
  auto b = open_checkpoint(path_b);
  if (!b) return b.error();
  for (const auto& side : {&*a, &*b})
    if (side->groups.empty())
      return fail(Errc::kIo, side->path + ": holds no tensors that rtrain reads",
                  "`rtrain checkpoint verify` holds its files against checksums.json");
  const bool with_rest = a->kind == b->kind && a->is_folder == b->is_folder;
  const auto of_a = named(*a, with_rest);
  if (!of_a) return of_a.error();
  const auto of_b = named(*b, with_rest);
  if (!of_b) return of_b.error();
  auto outcome = differences(*of_a, *of_b, *tolerance);
  if (!outcome) return outcome.error();
  const bool same = outcome->differences.empty();
  if (call.json())
    call.console.out(proto::dump_json({{"same", same},
                                       {"tensors_same", outcome->same},
                                       {"weights_only", !with_rest},
                                       {"differences", std::move(outcome->differences)}}) +
                     "\n");
  else
    print(call, *outcome, with_rest);
  return same ? 0 : 1;
}

}  // namespace rtrain::cli
