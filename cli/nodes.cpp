// rtrain nodes: the machines and what is used on them.
#include "cli/settings.h"
#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

double of(const proto::Resources& resources, const char* name) {
  const auto it = resources.find(name);
  return it == resources.end() ? 0 : it->second;
}

std::string used_of(const proto::NodeDoc& node, const char* name) {
  return amount(of(node.used, name)) + "/" + amount(of(node.info.resources, name));
}

std::string joined(const std::map<std::string, std::string>& pairs) {
  std::string out;
  for (const auto& [key, value] : pairs) out += (out.empty() ? "" : ",") + key + "=" + value;
  return out;
}

/// Resources with names of the user's own: "tpu=0/4".
std::string custom_of(const proto::NodeDoc& node) {
  std::string out;
  for (const auto& [name, total] : node.info.resources)
    if (name != "CPU" && name != "GPU" && name != "memory")
      out += (out.empty() ? "" : ",") + name + "=" + used_of(node, name.c_str());
  return out;
}

/// In capitals, as the states of jobs are.
std::string state_of(const proto::NodeDoc& node) {
  if (node.state == "ready" && node.suspicion > 0) return "SUSPECTED";
  std::string state = node.state;
  std::ranges::transform(state, state.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return state;
}

Result<int> nodes(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  auto answer = client->get("/v1/nodes");
  if (!answer) return answer.error();
  auto list = as_list<proto::NodeDoc>(*answer, "nodes");
  if (!list) return list.error();
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  if (call.output == "name") {
    for (const auto& node : *list) call.console.out(printable(node.info.name, false) + "\n");
    return 0;
  }
  if (list->empty()) {
    call.console.note(
        "no nodes: start an agent on each machine with `rtraind agent --config configs/agent.json`");
    return 0;
  }
  Table table({"NODE", "STATE", "ADDRESS", ">CPU", ">GPU", "MEMORY", "JOBS", "GPU MODEL", "CUSTOM", "LABELS",
               "REASON"});
  for (const auto& node : *list) {
    std::string jobs;
    for (const auto id : node.jobs) jobs += (jobs.empty() ? "" : ",") + rtrain::to_string(id);
    const std::string state = state_of(node);
    table.add({node.info.name,
               {state, state_style(state)},
               node.info.address,
               used_of(node, "CPU"),
               used_of(node, "GPU"),
               bytes(of(node.used, "memory")) + "/" + bytes(of(node.info.resources, "memory")),
               jobs,
               node.info.gpus.empty() ? "" : node.info.gpus.front().name,
               custom_of(node),
               joined(node.info.labels),
               printable(node.reason, false)});
  }
  call.console.print(table);
  return 0;
}

}  // namespace

Verb nodes_verb() {
  return {.name = "nodes",
          .usage = "",
          .summary = "list the nodes with what is used on each",
          .outputs = {"table", "json", "name"},
          .examples = {{"rtrain nodes", "used/total of each node"},
                       {"rtrain nodes -o json", "with GPUs, labels and versions"}},
          .run = nodes};
}

}  // namespace rtrain::cli
