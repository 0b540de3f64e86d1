-- health.lua KIND FILE: judges a health check of Argo CD's: its verdict on each object below. Argo CD runs Lua 5.1.
local kind, file = arg[1], arg[2]

local function object(generation, observed, conditions, spec)
  local list = {}
  for type, condition in pairs(conditions or {}) do
    list[#list + 1] = {
      type = type, status = condition[1], reason = condition[2], message = "because",
      observedGeneration = condition[3] or observed,
    }
  end
  return {metadata = {generation = generation}, spec = spec or {}, status = observed and {observedGeneration = observed, conditions = list}}
end

local cases = {
  {"Progressing", "not seen yet", object(1, nil)},
  {"Progressing", "an older version was well", object(2, 1, {Ready = {"True", "Ready"}})},
  {"Progressing", "an older version was stalled", object(2, 1, {Ready = {"False", "Stuck"}, Stalled = {"True", "Stuck"}})},
  {"Progressing", "the judgement is of an older version", object(2, 2, {Ready = {"True", "Ready", 1}})},
  {"Progressing", "no judgement", object(1, 1, {})},
  {"Progressing", "on its way", object(1, 1, {Ready = {"False", "Starting"}, Reconciling = {"True", "Starting"}})},
  {"Progressing", "nobody knows", object(1, 1, {Ready = {"Unknown", "HubUnreachable"}})},
  {"Healthy", "well", object(3, 3, {Ready = {"True", "Ready"}, Stalled = {"False", "Ready"}})},
}
if kind == "IotHub" then
  cases[#cases + 1] = {"Degraded", "stalled", object(1, 1, {Ready = {"False", "Stuck"}, Stalled = {"True", "ReplicasNotSupported"}})}
  -- To pause is a new generation, which is not looked at.
  local before = {Ready = {"True", "Running"}, Reconciling = {"False", "Paused"}, Stalled = {"False", "NotStalled"}}
  cases[#cases + 1] = {"Suspended", "paused", object(2, 1, before, {paused = true})}
  cases[#cases + 1] = {"Suspended", "paused from the beginning", object(1, nil, nil, {paused = true})}
else
  cases[#cases + 1] = {"Healthy", "not connected", object(1, 1, {Ready = {"True", "Ready"}, Connected = {"False", "ConnectionLost"}})}
  cases[#cases + 1] = {"Suspended", "held", object(1, 1, {Ready = {"False", "HeldInHub"}})}
  local waits_for_somebody = {
    "DeviceIdConflict", "Invalid", "KeysNotFound", "ManagedByAnother", "NamespaceNotAllowed", "NotAdopted", "RefusedByHub", "SecretConflict",
  }
  for _, reason in ipairs(waits_for_somebody) do
    cases[#cases + 1] = {"Degraded", reason, object(1, 1, {Ready = {"False", reason}})}
  end
  cases[#cases + 1] = {"Progressing", "its hub is starting", object(1, 1, {Ready = {"False", "HubNotReady"}})}
end

local check = assert(loadfile(file))
local wrong = 0
for _, case in ipairs(cases) do
  obj = case[3]
  local fine, verdict = pcall(check)
  if not fine or verdict.status ~= case[1] or type(verdict.message) ~= "string" then
    wrong = wrong + 1
    print(kind .. ", " .. case[2] .. ": " .. case[1] .. " expected, not " .. tostring(fine and verdict.status or verdict))
  end
end
os.exit(wrong == 0 and 0 or 1)
