import { services, workflow } from 'stepwell'
import { z } from 'zod'

export const hello = workflow({
  name: 'hello',
  input: z.object({ name: z.string() }),
  output: z.object({ greeting: z.string() }),
  services: services<{ any: { greet(name: string): Promise<string> } }>(),
}, async (ctx, { name }) => {
  const greeting = await ctx.step('greet', ({ services, input }) => services.greet(input), { input: name })
  await ctx.sleep(20)
  return { greeting }
})
